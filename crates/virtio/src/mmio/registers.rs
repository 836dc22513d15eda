//! The register pages of all devices of a machine: memory that the guest reads without leaving its processor.

use std::io;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Bytes that one device's registers take: one page, so that the pages of several devices make up one read-only memory
/// slot.
pub const PAGE_SIZE: usize = 4096;

/// Offsets of the registers (virtio 1.2 section 4.2.2, table 4.1).
pub mod offset {
    pub use virtio_bindings::virtio_mmio::{
        VIRTIO_MMIO_CONFIG as CONFIG, VIRTIO_MMIO_CONFIG_GENERATION as CONFIG_GENERATION,
        VIRTIO_MMIO_DEVICE_FEATURES as DEVICE_FEATURES,
        VIRTIO_MMIO_DEVICE_FEATURES_SEL as DEVICE_FEATURES_SEL, VIRTIO_MMIO_DEVICE_ID as DEVICE_ID,
        VIRTIO_MMIO_DRIVER_FEATURES as DRIVER_FEATURES,
        VIRTIO_MMIO_DRIVER_FEATURES_SEL as DRIVER_FEATURES_SEL,
        VIRTIO_MMIO_INTERRUPT_ACK as INTERRUPT_ACK,
        VIRTIO_MMIO_INTERRUPT_STATUS as INTERRUPT_STATUS, VIRTIO_MMIO_MAGIC_VALUE as MAGIC_VALUE,
        VIRTIO_MMIO_QUEUE_AVAIL_HIGH as QUEUE_DRIVER_HIGH,
        VIRTIO_MMIO_QUEUE_AVAIL_LOW as QUEUE_DRIVER_LOW,
        VIRTIO_MMIO_QUEUE_DESC_HIGH as QUEUE_DESC_HIGH,
        VIRTIO_MMIO_QUEUE_DESC_LOW as QUEUE_DESC_LOW, VIRTIO_MMIO_QUEUE_NOTIFY as QUEUE_NOTIFY,
        VIRTIO_MMIO_QUEUE_NUM as QUEUE_NUM, VIRTIO_MMIO_QUEUE_NUM_MAX as QUEUE_NUM_MAX,
        VIRTIO_MMIO_QUEUE_READY as QUEUE_READY, VIRTIO_MMIO_QUEUE_SEL as QUEUE_SEL,
        VIRTIO_MMIO_QUEUE_USED_HIGH as QUEUE_DEVICE_HIGH,
        VIRTIO_MMIO_QUEUE_USED_LOW as QUEUE_DEVICE_LOW, VIRTIO_MMIO_STATUS as STATUS,
        VIRTIO_MMIO_VENDOR_ID as VENDOR_ID, VIRTIO_MMIO_VERSION as VERSION,
    };

    /// First of the registers of shared memory regions: length and base, each low and high.
    pub const SHM_LEN_LOW: u32 = 0xb0;
}

/// Anonymous memory for the registers of some devices, one page each.
#[derive(Debug)]
pub struct RegisterPages {
    start: NonNull<AtomicU32>,
    count: usize,
}

// SAFETY: the pages are only accessed as atomic words.
unsafe impl Send for RegisterPages {}
// SAFETY: as above.
unsafe impl Sync for RegisterPages {}

impl RegisterPages {
    /// Pages for `count` devices, at least one, all zero.
    ///
    /// # Errors
    /// When the system has no memory.
    pub fn new(count: usize) -> io::Result<Arc<Self>> {
        let count = count.max(1);
        // SAFETY: a new mapping at an address of the kernel's choice takes nothing away from anybody.
        let start = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                count * PAGE_SIZE,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )?
        };
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Arc::new(Self { start, count }))
    }

    /// Address of the first page in this process, for the memory slot that shows the pages to the guest.
    #[must_use]
    pub fn address(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Length of all pages in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.count * PAGE_SIZE
    }

    /// The page of device `index`.
    ///
    /// # Panics
    /// When there is no such device.
    #[must_use]
    pub fn page(self: &Arc<Self>, index: usize) -> Registers {
        assert!(index < self.count, "device {index} of {}", self.count);
        Registers {
            pages: Arc::clone(self),
            first: index * (PAGE_SIZE / size_of::<AtomicU32>()),
        }
    }
}

impl Drop for RegisterPages {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and every `Registers` that could reach it holds a reference to `self`.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.size()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// One device's register page.
#[derive(Clone, Debug)]
pub struct Registers {
    pages: Arc<RegisterPages>,
    first: usize,
}

impl Registers {
    /// The word at `offset`, which is below [`PAGE_SIZE`].
    fn word(&self, offset: u32) -> &AtomicU32 {
        let index = offset as usize / size_of::<AtomicU32>();
        assert!(index < PAGE_SIZE / size_of::<AtomicU32>());
        // SAFETY: `first` and `index` keep it within the mapping (see `page`), which lives as long as `self.pages`,
        // is aligned to pages, and holds words that any bits are valid for.
        unsafe { self.pages.start.add(self.first + index).as_ref() }
    }

    /// What the guest reads at `offset`.
    #[must_use]
    pub fn get(&self, offset: u32) -> u32 {
        u32::from_le(self.word(offset).load(Ordering::Acquire))
    }

    /// Sets what the guest reads at `offset`.
    pub fn set(&self, offset: u32, value: u32) {
        self.word(offset).store(value.to_le(), Ordering::Release);
    }

    /// Sets bits in what the guest reads at `offset`.
    pub fn set_bits(&self, offset: u32, bits: u32) {
        self.word(offset).fetch_or(bits.to_le(), Ordering::AcqRel);
    }

    /// Clears bits in what the guest reads at `offset`.
    pub fn clear_bits(&self, offset: u32, bits: u32) {
        self.word(offset).fetch_and(!bits.to_le(), Ordering::AcqRel);
    }

    /// Shows `config` as the beginning of the configuration space; what of it has no place on the page is left out.
    pub fn show_config(&self, config: &[u8]) {
        for (at, bytes) in (offset::CONFIG..PAGE_SIZE as u32)
            .step_by(4)
            .zip(config.chunks(4))
        {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            self.set(at, u32::from_le_bytes(word));
        }
    }
}
