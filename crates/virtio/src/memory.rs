//! Guest memory as a device sees it: two views with different powers.
//!
//! [`Memory::ram`] is the guest's RAM. Rings, indirect tables, headers and everything else that is copied by the
//! processor is reached through it and nothing else.
//!
//! [`Memory::data`] is everything a descriptor may name as the source or target of bulk data: the RAM and the
//! [`Windows`] onto files. Its only operations are system calls that take vectors, so that a page that cannot be touched
//! (a file that became shorter below a mapping) is an `EFAULT` from the kernel and never a signal.

mod data;
mod windows;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use vm_memory::{
    Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
    MemoryRegionAddress,
};

pub use data::Data;
pub use windows::{Mapping, WindowError, Windows};

/// Why guest memory could not be reached.
#[derive(Debug, Error)]
pub enum MemoryError {
    /// A descriptor or header names guest-physical addresses where no memory is.
    #[error("the guest named {len} bytes at {addr:#x}, where it has no memory")]
    OutOfRange {
        /// First guest-physical address of the span.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// The memory is there, but a page of it cannot be touched, such as one beyond the end of the file behind it.
    #[error("{len} bytes of guest memory cannot be touched; the file behind them became shorter")]
    Gone {
        /// Length of the request in bytes.
        len: u64,
    },
    /// The request would write to a window that only shows a file.
    #[error("the guest asked to fill {len} bytes at {addr:#x}, which it may only read")]
    ReadOnly {
        /// First guest-physical address of the span.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Fewer bytes are in the span list than the request needs.
    #[error("the guest's buffer holds {have} bytes where {need} are needed")]
    TooShort {
        /// Bytes in the buffer.
        have: u64,
        /// Bytes needed.
        need: u64,
    },
}

/// A run of guest-physical bytes, as one descriptor names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Guest-physical address of the first byte.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
}

/// The total length of `spans` in bytes.
pub fn total_len(spans: &[Span]) -> u64 {
    spans.iter().map(|span| u64::from(span.len)).sum()
}

/// The parts of `spans` that hold the `len` bytes after the first `skip`.
fn slice_spans(spans: &[Span], skip: u64, len: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut skip = skip;
    let mut left = len;
    spans.iter().filter_map(move |span| {
        let size = u64::from(span.len);
        let start = skip.min(size);
        skip -= start;
        let take = (size - start).min(left);
        left -= take;
        (take > 0).then(|| (span.addr.wrapping_add(start), take))
    })
}

/// Guest memory, shared by the device's worker and its transport. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    ram: Arc<GuestMemoryMmap>,
    windows: Arc<Windows>,
}

impl Memory {
    /// Guest memory that is `ram` alone.
    pub fn new(ram: Arc<GuestMemoryMmap>) -> Self {
        Self::with_windows(ram, Arc::default())
    }

    /// Guest memory whose RAM is `ram` and that shows `windows` elsewhere. Where both are, the RAM is.
    pub fn with_windows(ram: Arc<GuestMemoryMmap>, windows: Arc<Windows>) -> Self {
        Self { ram, windows }
    }

    /// The guest's RAM: for rings, headers and all that is copied.
    pub fn ram(&self) -> &GuestMemoryMmap {
        &self.ram
    }

    /// Copies `out.len()` bytes out of RAM, from `skip` bytes into `spans`.
    pub fn copy_out(&self, spans: &[Span], skip: u64, out: &mut [u8]) -> Result<(), MemoryError> {
        check_len(spans, skip, out.len() as u64)?;
        let mut done = 0;
        for (addr, len) in slice_spans(spans, skip, out.len() as u64) {
            let end = done + len as usize;
            self.ram
                .read_slice(&mut out[done..end], GuestAddress(addr))
                .map_err(|_| MemoryError::OutOfRange { addr, len })?;
            done = end;
        }
        Ok(())
    }

    /// Copies `bytes` into RAM, to `skip` bytes into `spans`.
    pub fn copy_in(&self, spans: &[Span], skip: u64, bytes: &[u8]) -> Result<(), MemoryError> {
        check_len(spans, skip, bytes.len() as u64)?;
        let mut done = 0;
        for (addr, len) in slice_spans(spans, skip, bytes.len() as u64) {
            let end = done + len as usize;
            self.ram
                .write_slice(&bytes[done..end], GuestAddress(addr))
                .map_err(|_| MemoryError::OutOfRange { addr, len })?;
            done = end;
        }
        Ok(())
    }

    /// The `len` bytes of guest memory from `skip` bytes into `spans`, for vectored system calls. `writable` says that
    /// the kernel will be asked to fill them. Covers less than `len` when that is in more pieces than one call takes.
    pub fn data<'a>(
        &'a self,
        spans: &[Span],
        skip: u64,
        len: u64,
        writable: bool,
    ) -> Result<Data<'a>, MemoryError> {
        check_len(spans, skip, len)?;
        let mut data = Data::with_capacity(spans.len());
        for (addr, len) in slice_spans(spans, skip, len) {
            if !self.add_span(&mut data, addr, len, writable)? {
                break;
            }
        }
        Ok(data)
    }

    /// Adds the pieces of RAM and windows that make up a span. Returns whether there is room for more.
    fn add_span<'a>(
        &'a self,
        data: &mut Data<'a>,
        addr: u64,
        len: u64,
        writable: bool,
    ) -> Result<bool, MemoryError> {
        let out_of_range = || MemoryError::OutOfRange { addr, len };
        let mut done = 0;
        while done < len {
            let at = addr.checked_add(done).ok_or_else(out_of_range)?;
            let left = len - done;
            let (took, room) = if let Some(region) = self.ram.find_region(GuestAddress(at)) {
                let offset = at - region.start_addr().0;
                let take = left.min(region.len() - offset);
                let slice = usize::try_from(take)
                    .ok()
                    .and_then(|take| region.get_slice(MemoryRegionAddress(offset), take).ok())
                    .ok_or_else(out_of_range)?;
                (take, data.add_ram(&slice))
            } else {
                let view = self.windows.find(at).ok_or_else(out_of_range)?;
                if writable && !view.mapping.is_writable() {
                    return Err(MemoryError::ReadOnly { addr, len });
                }
                let take = left.min(view.rest);
                (take, data.add_view(view, take))
            };
            if !room {
                return Ok(false);
            }
            done += took;
        }
        Ok(true)
    }
}

fn check_len(spans: &[Span], skip: u64, need: u64) -> Result<(), MemoryError> {
    let have = total_len(spans).saturating_sub(skip);
    if have < need {
        Err(MemoryError::TooShort { have, need })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
