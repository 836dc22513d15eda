//! What the guest finds at its physical addresses, and where it comes from.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cenote_virtio::memory::{Memory as DeviceMemory, Windows};
use cenote_virtio::mmio::RegisterPages;
use kvm_bindings::{KVM_MEM_READONLY, kvm_userspace_memory_region};
use kvm_ioctls::VmFd;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::arch::layout;
use crate::mapping::{HUGE_PAGE, Mapping};
use crate::spec::{PmemFile, PmemSpec};

/// Why guest memory cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// RAM of this size is not possible.
    #[error(
        "{size} bytes of memory are not possible: give a whole number of MiB, at least {least} MiB",
        least = layout::LEAST_RAM >> 20
    )]
    Size {
        /// What was asked for.
        size: u64,
    },
    /// RAM and files do not fit below the processor's highest physical address.
    #[error(
        "the guest's memory and images end at {end:#x}, but this processor's addresses end at {limit:#x}: give less"
    )]
    Address {
        /// Where they would end.
        end: u64,
        /// The first address that does not exist.
        limit: u64,
    },
    /// A file's length does not fit a virtio-pmem device.
    #[error(
        "{name} has {length} bytes, which is not a multiple of 2 MiB: remove and pull its image again"
    )]
    Length {
        /// The file.
        name: String,
        /// Its length in bytes.
        length: u64,
    },
    /// A device without files.
    #[error("a virtio-pmem device without files")]
    Empty,
    /// A file cannot be measured.
    #[error("cannot read the length of {name}: {source}")]
    Measure {
        /// The file.
        name: String,
        /// The system's reason.
        source: io::Error,
    },
    /// Memory or files cannot be mapped.
    #[error("cannot map {what}: {source}; check the limits on memory and address space")]
    Map {
        /// What was to be mapped.
        what: String,
        /// The system's reason.
        source: io::Error,
    },
    /// The memory cannot be described to devices.
    #[error("cannot describe the guest's memory: {0}")]
    Describe(String),
    /// KVM refuses a memory slot.
    #[error("KVM refuses the memory at {address:#x} ({size} bytes): {source}")]
    Slot {
        /// Guest-physical address.
        address: u64,
        /// Length in bytes.
        size: u64,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
}

/// All memory of a machine. Whatever KVM or devices know of it must be gone before this is dropped.
pub struct Memory {
    ram: Vec<(u64, Arc<Mapping>)>,
    pmem: Vec<Pmem>,
    devices: DeviceMemory,
    registers: Arc<RegisterPages>,
}

/// The files of one virtio-pmem device in guest memory.
pub struct Pmem {
    /// Guest-physical address of the first byte.
    pub address: u64,
    mapping: Arc<Mapping>,
    files: Vec<Piece>,
    /// Whether the guest may write.
    pub writable: bool,
}

struct Piece {
    file: PmemFile,
    size: u64,
    /// From which byte on zero pages stand in for a file that became shorter.
    covered_from: AtomicU64,
}

impl Pmem {
    /// Length in bytes.
    pub fn size(&self) -> u64 {
        self.mapping.size() as u64
    }

    /// The files, each with its offset in the device.
    pub fn files(&self) -> impl Iterator<Item = &PmemFile> {
        self.files.iter().map(|piece| &piece.file)
    }
}

impl Memory {
    /// Memory for `size` bytes of RAM, the files of `pmem`, and the registers of `devices` devices. `limit` is the first
    /// address that the processor does not have.
    pub fn new(size: u64, pmem: Vec<PmemSpec>, devices: usize, limit: u64) -> Result<Self, Error> {
        let registers = RegisterPages::new(devices).map_err(map("the devices' registers"))?;
        let ram = layout::ram(size)
            .ok_or(Error::Size { size })?
            .into_iter()
            .map(|(address, size)| {
                let mapping = Mapping::anonymous(size).map_err(map("the guest's memory"))?;
                Ok((address, Arc::new(mapping)))
            })
            .collect::<Result<Vec<_>, Error>>()?;
        let mut next = layout::after_ram(size).next_multiple_of(HUGE_PAGE);
        let mut mapped = Vec::with_capacity(pmem.len());
        for spec in pmem {
            let pmem = place(spec, next)?;
            next += pmem.size();
            mapped.push(pmem);
        }
        if next > limit {
            return Err(Error::Address { end: next, limit });
        }
        Ok(Self {
            devices: describe(&ram, &mapped)?,
            ram,
            pmem: mapped,
            registers,
        })
    }

    /// Shows all of it to the guest of `vm`.
    pub fn register(&self, vm: &VmFd) -> Result<(), Error> {
        let registers = self.registers.size().next_multiple_of(4096) as u64;
        let ram = self
            .ram
            .iter()
            .map(|(address, mapping)| (*address, mapping.as_ref(), 0));
        let pmem = self.pmem.iter().map(|pmem| {
            let flags = if pmem.writable { 0 } else { KVM_MEM_READONLY };
            (pmem.address, pmem.mapping.as_ref(), flags)
        });
        let regions = ram
            .chain(pmem)
            .map(|(address, mapping, flags)| {
                let host = mapping.start().as_ptr() as u64;
                (address, mapping.size() as u64, host, flags)
            })
            .chain([(
                layout::REGISTERS,
                registers,
                self.registers.address() as u64,
                KVM_MEM_READONLY,
            )]);
        for (slot, (address, size, host, flags)) in (0..).zip(regions) {
            let region = kvm_userspace_memory_region {
                slot,
                flags,
                guest_phys_addr: address,
                memory_size: size,
                userspace_addr: host,
            };
            // SAFETY: the range is one live mapping that this object keeps, and `Vm` drops the machine before it.
            unsafe { vm.set_user_memory_region(region) }.map_err(|source| Error::Slot {
                address,
                size,
                source,
            })?;
        }
        Ok(())
    }

    /// The memory as devices see it.
    pub fn for_devices(&self) -> DeviceMemory {
        self.devices.clone()
    }

    /// The guest's RAM.
    pub fn ram(&self) -> &GuestMemoryMmap {
        self.devices.ram()
    }

    /// The virtio-pmem devices' files.
    pub fn pmem(&self) -> &[Pmem] {
        &self.pmem
    }

    /// The devices' register pages.
    pub fn registers(&self) -> &Arc<RegisterPages> {
        &self.registers
    }

    /// Puts zero pages where mapped files have become shorter than they were. Returns whether there were any that had
    /// none yet: then an access that failed can be tried again.
    pub fn cover_shortened_files(&self) -> bool {
        let mut covered = false;
        for pmem in &self.pmem {
            let mut start = 0;
            for piece in &pmem.files {
                covered |= piece.cover(&pmem.mapping, start);
                start += piece.size;
            }
        }
        covered
    }
}

impl Piece {
    /// `start` is where the file begins in `mapping`.
    fn cover(&self, mapping: &Mapping, start: u64) -> bool {
        const PAGE: u64 = 4096;
        let length = self.file.file.metadata().map_or(0, |file| file.len());
        let from = length.next_multiple_of(PAGE);
        if from >= self.covered_from.fetch_min(from, Ordering::Relaxed) {
            return false;
        }
        let size = self.size - from;
        // SAFETY: the range lies within the mapping of this file, whose bytes nobody in this process borrows; the guest
        // and system calls see zeros instead of a fault.
        let mapped = unsafe {
            mmap_anonymous(
                mapping.start().add((start + from) as usize).as_ptr().cast(),
                size as usize,
                ProtFlags::READ,
                MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED,
            )
        };
        let name = &self.file.name;
        tracing::warn!(file = %name, length, "a file that the guest maps became shorter: it reads zeros there");
        mapped.is_ok()
    }
}

fn map(what: impl ToString) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Map {
        what: what.to_string(),
        source,
    }
}

fn describe(ram: &[(u64, Arc<Mapping>)], pmem: &[Pmem]) -> Result<DeviceMemory, Error> {
    let regions = ram
        .iter()
        .map(|(address, mapping)| {
            // SAFETY: the mapping is live and `Memory` keeps it; devices, which hold the description, are dropped first.
            let region = unsafe {
                MmapRegion::build_raw(
                    mapping.start().as_ptr(),
                    mapping.size(),
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_NORESERVE,
                )
            };
            let region = region.map_err(|error| Error::Describe(error.to_string()))?;
            GuestRegionMmap::new(region, GuestAddress(*address))
                .ok_or_else(|| Error::Describe("a region's end overflows".to_owned()))
        })
        .collect::<Result<Vec<_>, Error>>()?;
    let ram = GuestMemoryMmap::from_regions(regions)
        .map_err(|error| Error::Describe(error.to_string()))?;
    let windows = Windows::new();
    for pmem in pmem {
        windows
            .add(pmem.address, pmem.mapping.clone())
            .map_err(|error| Error::Describe(error.to_string()))?;
    }
    Ok(DeviceMemory::with_windows(Arc::new(ram), Arc::new(windows)))
}

fn place(spec: PmemSpec, address: u64) -> Result<Pmem, Error> {
    let files = spec
        .files
        .into_iter()
        .map(measured)
        .collect::<Result<Vec<_>, Error>>()?;
    let first = files.first().ok_or(Error::Empty)?;
    let mapping = Mapping::files(
        files.iter().map(|piece| (&piece.file.file, piece.size)),
        spec.writable,
    )
    .map_err(map(&first.file.name))?;
    Ok(Pmem {
        address,
        mapping: Arc::new(mapping),
        files,
        writable: spec.writable,
    })
}

fn measured(file: PmemFile) -> Result<Piece, Error> {
    let metadata = file.file.metadata().map_err(|source| Error::Measure {
        name: file.name.clone(),
        source,
    })?;
    let size = metadata.len();
    if size == 0 || size % HUGE_PAGE != 0 {
        return Err(Error::Length {
            name: file.name,
            length: size,
        });
    }
    Ok(Piece {
        file,
        size,
        covered_from: AtomicU64::new(size),
    })
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
