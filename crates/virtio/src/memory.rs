//! Guest memory as a device sees it: two views with different powers.
//!
//! [`Memory::ram`] is the guest's RAM. Rings, indirect tables, headers and everything else that is copied by the
//! processor is reached through it and nothing else.
//!
//! [`Memory::data`] is everything a descriptor may name as the source or target of bulk data. Its only operations are
//! system calls that take vectors, so that a page that cannot be touched (a file that became shorter below a mapping)
//! is an `EFAULT` from the kernel and never a signal. Today it covers the RAM; windows onto files join it without a
//! change to its users.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemory, GuestMemoryMmap, Permissions};

/// The most pieces that one vectored system call takes (`UIO_MAXIOV` in Linux); longer requests are served in part.
const MAX_PIECES: usize = 1024;

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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Memory {
    /// Guest memory whose RAM is `ram`.
    pub fn new(ram: Arc<GuestMemoryMmap>) -> Self {
        Self { ram }
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
    /// the kernel will be asked to fill them.
    pub fn data<'a>(
        &'a self,
        spans: &[Span],
        skip: u64,
        len: u64,
        writable: bool,
    ) -> Result<Data<'a>, MemoryError> {
        check_len(spans, skip, len)?;
        let mut data = Data {
            pieces: Vec::with_capacity(spans.len().min(MAX_PIECES)),
            len: 0,
            memory: PhantomData,
        };
        for (addr, len) in slice_spans(spans, skip, len) {
            self.push_pieces(&mut data, addr, len, writable)?;
        }
        Ok(data)
    }

    fn push_pieces(
        &self,
        data: &mut Data<'_>,
        addr: u64,
        len: u64,
        writable: bool,
    ) -> Result<(), MemoryError> {
        let out_of_range = || MemoryError::OutOfRange { addr, len };
        let count = usize::try_from(len).map_err(|_| out_of_range())?;
        let access = if writable {
            Permissions::Write
        } else {
            Permissions::Read
        };
        let slices = self
            .ram
            .get_slices(GuestAddress(addr), count, access)
            .map_err(|_| out_of_range())?;
        for slice in slices {
            let slice = slice.map_err(|_| out_of_range())?;
            if data.pieces.len() == MAX_PIECES {
                return Ok(());
            }
            data.len += slice.len() as u64;
            data.pieces.push(libc::iovec {
                iov_base: slice.ptr_guard_mut().as_ptr().cast(),
                iov_len: slice.len(),
            });
        }
        Ok(())
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

/// Pieces of guest memory that only the kernel reads and writes, on behalf of a system call.
///
/// Borrowed from the [`Memory`] that keeps them mapped.
#[derive(Debug)]
pub struct Data<'a> {
    pieces: Vec<libc::iovec>,
    len: u64,
    memory: PhantomData<&'a Memory>,
}

impl Data<'_> {
    /// Bytes covered. Less than was asked for when the request has more pieces than one system call takes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte is covered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Sends from guest memory to the socket without waiting; returns the bytes taken, which may be fewer than [`len`].
    ///
    /// [`len`]: Self::len
    pub fn send_to(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let message = self.message();
        // SAFETY: `message` points at `self.pieces`, which outlives the call; every piece lies in a mapping that the
        // borrowed `Memory` keeps, and the kernel answers EFAULT for a page that it cannot read.
        let sent = unsafe {
            libc::sendmsg(
                socket.as_raw_fd(),
                &message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives from the socket into guest memory without waiting; returns the bytes stored, 0 at end of stream.
    ///
    /// Must come from [`Memory::data`] with `writable`.
    pub fn receive_from(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let mut message = self.message();
        // SAFETY: as in `send_to`; the kernel writes only to guest memory, which Rust code never holds references to.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    fn message(&mut self) -> libc::msghdr {
        // SAFETY: all-zero is a valid `msghdr`: no name, no control data, no pieces.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = self.pieces.as_mut_ptr();
        message.msg_iovlen = self.pieces.len() as _;
        message
    }
}

#[cfg(test)]
mod tests;
