//! Images in the guest's physical memory. QEMU places them where we say, since it does not announce to the devices that it
//! borrows what the guest may only read: those learn it from us.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cenote_virtio::memory::Windows;
use vm_memory::{FileOffset, MmapRegion};

use super::Error;

/// Images start and end on this boundary, so that huge mappings stay possible (virtio-pmem itself needs it).
pub(super) const ALIGNMENT: u64 = 2 << 20;

/// So much RAM a q35 machine has below 4 GiB, and when it has more than that, only so much there.
const LOW_RAM: u64 = 0xb000_0000;
const LOW_RAM_OF_MORE: u64 = 0x8000_0000;

/// Where the rest of the RAM begins.
const HIGH_RAM: u64 = 4 << 30;

/// Memory devices begin on such a boundary after all RAM.
const DEVICE_MEMORY_ALIGNMENT: u64 = 1 << 30;

/// A file that the guest maps.
#[derive(Debug)]
pub(super) struct Image {
    pub path: PathBuf,
    /// Length in bytes.
    pub length: u64,
    /// Guest-physical address of the first byte.
    pub address: u64,
}

/// Gives each of `files` its place in the memory of a machine with `ram` bytes of RAM.
pub(super) fn place<'a>(
    files: impl Iterator<Item = &'a PathBuf>,
    ram: u64,
) -> Result<Vec<Image>, Error> {
    let mut next = after_ram(ram);
    files
        .map(|path| {
            let length = measure(path)?;
            let address = next;
            next += length;
            Ok(Image {
                path: path.clone(),
                length,
                address,
            })
        })
        .collect()
}

/// The images as the guest's requests may name them.
pub(super) fn windows(images: &[Image]) -> Result<Windows, Error> {
    let windows = Windows::new();
    for image in images {
        let refuse = |source| Error::Image {
            path: image.path.clone(),
            source,
        };
        let file = FileOffset::new(File::open(&image.path).map_err(refuse)?, 0);
        let mapping = usize::try_from(image.length)
            .map_err(io::Error::other)
            .and_then(|length| {
                MmapRegion::build(Some(file), length, libc::PROT_READ, libc::MAP_SHARED)
                    .map_err(io::Error::other)
            })
            .map_err(refuse)?;
        windows
            .add(image.address, Arc::new(mapping))
            .map_err(|error| refuse(io::Error::other(error)))?;
    }
    Ok(windows)
}

/// Where a q35 machine's memory devices begin.
fn after_ram(ram: u64) -> u64 {
    let high = match ram {
        ..LOW_RAM => 0,
        _ => ram - LOW_RAM_OF_MORE,
    };
    (HIGH_RAM + high).next_multiple_of(DEVICE_MEMORY_ALIGNMENT)
}

/// The length of an image in bytes, which must suit virtio-pmem.
fn measure(path: &Path) -> Result<u64, Error> {
    let length = std::fs::metadata(path)
        .map_err(|source| Error::Image {
            path: path.to_owned(),
            source,
        })?
        .len();
    if length == 0 || length % ALIGNMENT != 0 {
        return Err(Error::Unaligned {
            path: path.to_owned(),
            length,
        });
    }
    Ok(length)
}

#[cfg(test)]
mod tests;
