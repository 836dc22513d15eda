//! Host address space for guest memory, aligned so that huge mappings are possible on both sides.

use std::fs::File;
use std::io;
use std::ptr::{self, NonNull};

use cenote_virtio::memory::Mapping as WindowMapping;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

/// The size of a huge page on both architectures with 4 KiB pages: guest addresses, host addresses and file offsets are
/// congruent modulo this, which KVM needs to map a huge page as one.
pub const HUGE_PAGE: u64 = 2 << 20;

/// A run of this process's address space that starts at a multiple of [`HUGE_PAGE`]. Unmapped when dropped.
#[derive(Debug)]
pub struct Mapping {
    reserved: NonNull<u8>,
    reserved_size: usize,
    start: NonNull<u8>,
    size: usize,
    writable: bool,
}

// SAFETY: it only owns address space; the bytes in it are the guest's and are never borrowed.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method reads or writes the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// `size` bytes of zeroed memory that takes no room until it is touched.
    ///
    /// # Errors
    /// When the address space or the system's limits do not allow it.
    pub fn anonymous(size: u64) -> io::Result<Self> {
        let mapping = Self::reserve(size, true)?;
        // SAFETY: the range is reserved by us alone, and nobody has been given its address yet.
        unsafe {
            mmap_anonymous(
                mapping.start.as_ptr().cast(),
                mapping.size,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )?;
        }
        mapping.want_huge_pages();
        Ok(mapping)
    }

    /// The first `sizes` bytes of each file, back to back; each size is a multiple of [`HUGE_PAGE`].
    ///
    /// # Errors
    /// When a file cannot be mapped.
    pub fn files<'a>(
        files: impl ExactSizeIterator<Item = (&'a File, u64)> + Clone,
        writable: bool,
    ) -> io::Result<Self> {
        let size = files.clone().map(|(_, size)| size).sum();
        let mapping = Self::reserve(size, writable)?;
        let access = if writable {
            ProtFlags::READ | ProtFlags::WRITE
        } else {
            ProtFlags::READ
        };
        let mut offset = 0;
        for (file, size) in files {
            let size = to_usize(size)?;
            // SAFETY: `offset` and `size` stay within the range that is reserved by us alone (the sizes add up to it).
            unsafe {
                mmap(
                    mapping.start.add(offset).as_ptr().cast(),
                    size,
                    access,
                    MapFlags::SHARED | MapFlags::NORESERVE | MapFlags::FIXED,
                    file,
                    0,
                )?;
            }
            offset += size;
        }
        mapping.want_huge_pages();
        Ok(mapping)
    }

    fn reserve(size: u64, writable: bool) -> io::Result<Self> {
        let size = to_usize(size)?;
        let huge = HUGE_PAGE as usize;
        let reserved_size = size
            .checked_add(huge)
            .filter(|_| size > 0)
            .ok_or(io::ErrorKind::InvalidInput)?;
        // SAFETY: a new mapping at an address of the kernel's choice takes nothing away from anybody.
        let reserved = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                reserved_size,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )?
        };
        let reserved: NonNull<u8> =
            NonNull::new(reserved.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        let gap = reserved.as_ptr().align_offset(huge);
        Ok(Self {
            reserved,
            reserved_size,
            // SAFETY: `gap` is less than `huge`, by which the reservation is longer than `size`.
            start: unsafe { reserved.add(gap) },
            size,
            writable,
        })
    }

    /// Asks for huge pages: where file systems or memory have none, small ones do as well.
    fn want_huge_pages(&self) {
        // SAFETY: the advice changes no content.
        let advised =
            unsafe { madvise(self.start.as_ptr().cast(), self.size, Advice::LinuxHugepage) };
        if let Err(error) = advised {
            tracing::debug!(%error, "no huge pages for guest memory");
        }
    }

    /// Address of the first byte.
    #[must_use]
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the reservation is ours. Whoever was given its address (KVM, guest memory) keeps this object alive.
        let unmapped = unsafe { munmap(self.reserved.as_ptr().cast(), self.reserved_size) };
        debug_assert!(unmapped.is_ok());
    }
}

// SAFETY: the reservation is ours until it is dropped, holds nothing but what the guest is to see, and no method makes a
// reference into it.
unsafe impl WindowMapping for Mapping {
    fn host_addr(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn len(&self) -> usize {
        self.size
    }

    fn is_writable(&self) -> bool {
        self.writable
    }
}

fn to_usize(size: u64) -> io::Result<usize> {
    usize::try_from(size).map_err(|_| io::ErrorKind::InvalidInput.into())
}
