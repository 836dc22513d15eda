//! Windows: guest-physical ranges that show a file of the host (a pmem image, the DAX window of a share).

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;
use vm_memory::MmapRegion;

/// The most windows that a guest has: its pmem devices, DAX windows, and room to spare.
const MAX_WINDOWS: usize = 1024;

/// A range of this process's addresses that belongs to a window.
///
/// What is mapped there may change while it is in use, and pages of it may be gone: it is only handed to the kernel,
/// as an argument of system calls that answer `EFAULT`.
///
/// # Safety
///
/// Until the value is dropped, the range is reserved for it: nothing that is not meant for the guest may be mapped there.
/// No Rust reference may point into it.
pub unsafe trait Mapping: Send + Sync {
    /// Address of the first byte in this process.
    fn host_addr(&self) -> *mut u8;

    /// Length in bytes.
    fn len(&self) -> usize;

    /// Whether the length is zero.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the guest may write to it.
    fn is_writable(&self) -> bool;
}

// SAFETY: a region that owns its mapping unmaps it when it is dropped and not before; one that does not was made by
// `build_raw`, whose caller vouches for the same.
unsafe impl Mapping for MmapRegion {
    fn host_addr(&self) -> *mut u8 {
        self.as_ptr()
    }

    fn len(&self) -> usize {
        self.size()
    }

    fn is_writable(&self) -> bool {
        self.prot() & libc::PROT_WRITE != 0
    }
}

/// Why a window cannot be added.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WindowError {
    /// The window has no bytes, or ends beyond the last guest-physical address.
    #[error("a window of {len} bytes at {addr:#x} is empty or ends beyond the last address")]
    Range {
        /// Guest-physical address.
        addr: u64,
        /// Length in bytes.
        len: u64,
    },
    /// Another window is there.
    #[error("a window of {len} bytes at {addr:#x} overlaps the one at {other:#x}")]
    Overlap {
        /// Guest-physical address.
        addr: u64,
        /// Length in bytes.
        len: u64,
        /// Where the other window begins.
        other: u64,
    },
    /// There are as many windows as there can be.
    #[error("the guest has {MAX_WINDOWS} windows already")]
    TooMany,
}

/// The windows of one guest. They come and go while devices run; a request keeps those that it uses mapped.
#[derive(Default)]
pub struct Windows(RwLock<Vec<Window>>);

struct Window {
    guest_addr: u64,
    len: u64,
    mapping: Arc<dyn Mapping>,
}

/// What a window shows at an address.
pub(super) struct View {
    /// The window's mapping.
    pub mapping: Arc<dyn Mapping>,
    /// Offset of the address in it.
    pub offset: usize,
    /// Bytes from there to its end.
    pub rest: u64,
}

impl Windows {
    /// No windows yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows `mapping` at the guest-physical address `guest_addr`, where the guest must have no RAM.
    pub fn add(&self, guest_addr: u64, mapping: Arc<dyn Mapping>) -> Result<(), WindowError> {
        let (addr, len) = (guest_addr, mapping.len() as u64);
        let end = addr
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(WindowError::Range { addr, len })?;
        let mut windows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if windows.len() == MAX_WINDOWS {
            return Err(WindowError::TooMany);
        }
        let at = windows.partition_point(|window| window.guest_addr < addr);
        let before = at.checked_sub(1).and_then(|i| windows.get(i));
        let neighbour = before
            .filter(|window| window.guest_addr + window.len > addr)
            .or(windows.get(at).filter(|window| window.guest_addr < end));
        if let Some(neighbour) = neighbour {
            let other = neighbour.guest_addr;
            return Err(WindowError::Overlap { addr, len, other });
        }
        windows.insert(
            at,
            Window {
                guest_addr,
                len,
                mapping,
            },
        );
        Ok(())
    }

    /// Takes the window away that begins at `guest_addr`; returns its mapping. Requests that are under way still use it.
    pub fn remove(&self, guest_addr: u64) -> Option<Arc<dyn Mapping>> {
        let mut windows = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let at = windows
            .binary_search_by_key(&guest_addr, |window| window.guest_addr)
            .ok()?;
        Some(windows.remove(at).mapping)
    }

    pub(super) fn find(&self, addr: u64) -> Option<View> {
        let windows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let after = windows.partition_point(|window| window.guest_addr <= addr);
        let window = &windows[after.checked_sub(1)?];
        let offset = addr - window.guest_addr;
        let rest = window.len.checked_sub(offset).filter(|rest| *rest > 0)?;
        Some(View {
            mapping: Arc::clone(&window.mapping),
            offset: usize::try_from(offset).ok()?,
            rest,
        })
    }
}

impl fmt::Debug for Windows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows = self.0.read().unwrap_or_else(PoisonError::into_inner);
        f.debug_list()
            .entries(
                windows
                    .iter()
                    .map(|window| window.guest_addr..window.guest_addr + window.len),
            )
            .finish()
    }
}

#[cfg(test)]
mod tests;
