//! The file behind a block device.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};

use rustix::fs::{FallocateFlags, fallocate, fdatasync};
use rustix::io::{Errno, ReadWriteFlags};

use super::{BlockError, BlockSpec};
use crate::memory::Data;

/// Bytes of a sector, the unit of all addresses (virtio 1.2 section 5.2.6).
pub const SECTOR: u64 = 512;
/// Longest serial number in bytes (`VIRTIO_BLK_ID_BYTES`).
pub const ID_LEN: usize = 20;
/// Zeroes written at once where the file system cannot zero a range itself.
static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// A file, opened. All offsets are in bytes and checked by the caller to be inside of it.
pub struct Disk {
    file: File,
    sectors: u64,
    block_size: u32,
    read_only: bool,
    ephemeral: bool,
    id: [u8; ID_LEN],
}

/// How far a read from the page cache got.
#[derive(Debug, PartialEq, Eq)]
pub enum Cached {
    /// All bytes were there.
    All,
    /// The rest is not there.
    Part,
}

impl Disk {
    /// Opens the file of `spec`.
    pub fn open(spec: &BlockSpec) -> Result<Self, BlockError> {
        let path = &spec.path;
        let mut id = [0; ID_LEN];
        id.get_mut(..spec.id.len())
            .ok_or_else(|| BlockError::IdTooLong {
                id: spec.id.clone(),
            })?
            .copy_from_slice(spec.id.as_bytes());
        let open = || -> io::Result<(File, Metadata, u64)> {
            let mut file = OpenOptions::new()
                .read(true)
                .write(!spec.read_only)
                .open(path)?;
            let metadata = file.metadata()?;
            // Unlike the metadata, the end is also true of a block device.
            let len = file.seek(SeekFrom::End(0))?;
            Ok((file, metadata, len))
        };
        let (file, metadata, len) = open().map_err(|source| BlockError::Open {
            path: path.clone(),
            source,
        })?;
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            return Err(BlockError::Kind { path: path.clone() });
        }
        if len < SECTOR {
            return Err(BlockError::Empty {
                path: path.clone(),
                len,
            });
        }
        Ok(Self {
            file,
            sectors: len / SECTOR,
            block_size: u32::try_from(metadata.blksize())
                .ok()
                .filter(|size| size.is_power_of_two())
                .unwrap_or(SECTOR as u32),
            read_only: spec.read_only,
            ephemeral: spec.ephemeral,
            id,
        })
    }

    /// Length in sectors.
    pub fn sectors(&self) -> u64 {
        self.sectors
    }

    /// The size in bytes in which the host's file system likes to be written, a power of two.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Whether it must not be written to.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Whether flushes do nothing.
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// The serial number, padded with zeroes.
    pub fn id(&self) -> &[u8; ID_LEN] {
        &self.id
    }

    /// The open file.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Reads as much as the page cache has, without waiting; `data` and `offset` move on.
    pub fn read_cached(&self, data: &mut Data<'_>, offset: &mut u64) -> io::Result<Cached> {
        while !data.is_empty() {
            match data.read_at(self.fd(), *offset, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    data.advance(count as u64);
                    *offset += count as u64;
                }
                Err(error) => match Errno::from_io_error(&error) {
                    // The file system may not know the flag.
                    Some(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => {
                        return Ok(Cached::Part);
                    }
                    _ => return Err(error),
                },
            }
        }
        Ok(Cached::All)
    }

    /// Reads all of `data`.
    pub fn read(&self, data: &mut Data<'_>, offset: u64) -> io::Result<()> {
        move_all(data, offset, |data, offset| {
            data.read_at(self.fd(), offset, ReadWriteFlags::empty())
        })
    }

    /// Writes all of `data`; `through` to the host's disk or only to its page cache.
    pub fn write(&self, data: &mut Data<'_>, offset: u64, through: bool) -> io::Result<()> {
        let flags = if through {
            ReadWriteFlags::DSYNC
        } else {
            ReadWriteFlags::empty()
        };
        move_all(data, offset, |data, offset| {
            data.write_at(self.fd(), offset, flags)
        })
    }

    /// Returns when all that was written is on the host's disk.
    pub fn flush(&self) -> io::Result<()> {
        Ok(fdatasync(&self.file)?)
    }

    /// Gives the range back to the file system. `Unsupported` if that cannot take it.
    pub fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        self.fallocate(hole, offset, len)
    }

    /// Makes the range read as zeroes; `unmap` says that it may be given back to the file system.
    pub fn write_zeroes(&self, offset: u64, len: u64, unmap: bool) -> io::Result<()> {
        let zero = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        let result = if unmap {
            self.discard(offset, len)
        } else {
            self.fallocate(zero, offset, len)
        };
        match result {
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                self.write_zero_bytes(offset, len)
            }
            result => result,
        }
    }

    fn fallocate(&self, flags: FallocateFlags, offset: u64, len: u64) -> io::Result<()> {
        loop {
            match fallocate(&self.file, flags, offset, len) {
                Err(Errno::INTR) => {}
                result => return Ok(result?),
            }
        }
    }

    fn write_zero_bytes(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let piece = (len - done).min(ZEROES.len() as u64);
            self.file
                .write_all_at(&ZEROES[..piece as usize], offset + done)?;
            done += piece;
        }
        Ok(())
    }
}

fn move_all<'m>(
    data: &mut Data<'m>,
    mut offset: u64,
    call: impl Fn(&Data<'m>, u64) -> io::Result<usize>,
) -> io::Result<()> {
    while !data.is_empty() {
        match call(data, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                data.advance(count as u64);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
