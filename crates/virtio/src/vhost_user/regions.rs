//! The guest's memory as the front-end announces it.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::fs::fcntl_get_seals;
use vhost::vhost_user::Error as ProtocolError;
use vhost::vhost_user::message::VhostUserMemoryRegion;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::memory::{Memory, Windows};

/// Regions accepted: a q35 has three or four of RAM, and each virtio-pmem may add one.
pub const MAX_REGIONS: usize = 64;

/// One region.
struct Region {
    guest_addr: u64,
    size: u64,
    frontend_addr: u64,
    /// `None` for a region that is not RAM.
    mapping: Option<Arc<GuestRegionMmap>>,
}

/// All regions.
#[derive(Default)]
pub struct Regions(Vec<Region>);

impl Regions {
    /// Adds the region that `file` backs.
    pub fn add(&mut self, region: &VhostUserMemoryRegion, file: File) -> Result<(), ProtocolError> {
        if self.0.len() == MAX_REGIONS {
            return Err(ProtocolError::InvalidOperation("too many memory regions"));
        }
        let mapping = if is_memory_file(&file) {
            Some(map(region, file)?)
        } else {
            None
        };
        if mapping.is_none() {
            let (addr, size) = (region.guest_phys_addr, region.memory_size);
            tracing::debug!(addr, size, "vhost-user: a region is not RAM");
        }
        self.0.push(Region {
            guest_addr: region.guest_phys_addr,
            size: region.memory_size,
            frontend_addr: region.user_addr,
            mapping,
        });
        Ok(())
    }

    /// Removes a region that was added.
    pub fn remove(&mut self, region: &VhostUserMemoryRegion) -> Result<(), ProtocolError> {
        let before = self.0.len();
        self.0
            .retain(|r| r.guest_addr != region.guest_phys_addr || r.size != region.memory_size);
        if self.0.len() == before {
            return Err(ProtocolError::InvalidOperation(
                "removing a memory region that was never added",
            ));
        }
        Ok(())
    }

    /// Removes all regions.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The RAM that the regions make up, with `windows` beside it.
    pub fn memory(&self, windows: &Arc<Windows>) -> Result<Memory, ProtocolError> {
        let mut mappings: Vec<&Region> = self
            .0
            .iter()
            .filter(|region| region.mapping.is_some())
            .collect();
        mappings.sort_by_key(|region| region.guest_addr);
        let mappings = mappings
            .into_iter()
            .filter_map(|region| region.mapping.clone())
            .collect();
        let ram = GuestMemoryMmap::from_arc_regions(mappings)
            .map_err(|error| ProtocolError::ReqHandlerError(io::Error::other(error)))?;
        Ok(Memory::with_windows(Arc::new(ram), Arc::clone(windows)))
    }

    /// The guest-physical address of what the front-end has at `addr` in its own address space.
    pub fn guest_addr(&self, addr: u64) -> Result<u64, ProtocolError> {
        self.0
            .iter()
            .find_map(|region| {
                let offset = addr
                    .checked_sub(region.frontend_addr)
                    .filter(|offset| *offset < region.size)?;
                region.guest_addr.checked_add(offset)
            })
            .ok_or(ProtocolError::InvalidParam)
    }
}

/// Whether the file lives in memory (a memfd, /dev/shm or huge pages): only those have seals. The file system of an
/// image has not.
fn is_memory_file(file: &File) -> bool {
    fcntl_get_seals(file).is_ok()
}

fn map(region: &VhostUserMemoryRegion, file: File) -> Result<Arc<GuestRegionMmap>, ProtocolError> {
    let refuse = |error: io::Error| ProtocolError::ReqHandlerError(error);
    let size = usize::try_from(region.memory_size).map_err(|_| ProtocolError::InvalidParam)?;
    // Touching a page beyond the end of the file would be a signal, not an error.
    let end = region.mmap_offset.checked_add(region.memory_size);
    let len = file.metadata().map_err(refuse)?.len();
    if end.is_none_or(|end| len < end) {
        return Err(ProtocolError::InvalidOperation(
            "a memory region is longer than its file",
        ));
    }
    let mapping = MmapRegion::from_file(FileOffset::new(file, region.mmap_offset), size)
        .map_err(|error| refuse(io::Error::other(error)))?;
    GuestRegionMmap::new(mapping, GuestAddress(region.guest_phys_addr))
        .map(Arc::new)
        .ok_or_else(|| refuse(io::ErrorKind::InvalidInput.into()))
}
