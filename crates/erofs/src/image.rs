//! The checked reader: every address, length, name and count of an image is verified before it is used.
//!
//! It reads what this crate writes: uncompressed images of 4 KiB blocks with extended inodes and attributes behind
//! them. Anything else is refused by name, not guessed at.

mod load;
mod node;
mod read_error;
mod window;

use std::fs::File;

use zerocopy::FromBytes;

use crate::crc32c::crc32c;
use crate::layout::*;
use crate::tree::Tree;
pub use read_error::ReadError;
use window::Windows;

/// An EROFS image whose superblock and device table have been checked.
pub struct Image {
    bytes: Windows,
    superblock: Superblock,
    /// Blocks of the image and, behind them, of its extra devices.
    data_blocks: u32,
}

impl Image {
    /// Opens an image and checks its superblock, its checksum, that the file is as long as it says, and its device
    /// table.
    ///
    /// # Errors
    /// [`ReadError`], naming the field that is wrong.
    pub fn open(file: File) -> Result<Self, ReadError> {
        let mut bytes = Windows::new(file)?;
        let mut block = [0; BLOCK_SIZE as usize];
        bytes.read(0, &mut block)?;
        let checked = &mut block[SUPERBLOCK_OFFSET as usize..];
        let superblock = Superblock::read_from_prefix(checked)
            .expect("a block is longer")
            .0;
        checked[4..8].fill(0);
        check_superblock(&superblock, crc32c(checked))?;
        let blocks = superblock.blocks.get();
        if u64::from(blocks) * BLOCK_SIZE > bytes.length() {
            return Err(ReadError::Truncated {
                blocks,
                length: bytes.length(),
            });
        }
        let data_blocks = device_table(&mut bytes, &superblock)?;
        Ok(Self {
            bytes,
            superblock,
            data_blocks,
        })
    }

    /// Length of the image in blocks of 4 KiB, without extra devices.
    pub fn blocks(&self) -> u32 {
        self.superblock.blocks.get()
    }

    /// Whether files may have data on extra devices.
    pub(crate) fn has_devices(&self) -> bool {
        self.data_blocks != self.blocks()
    }

    /// Reads the whole tree and checks all of it. Returns the number of inodes.
    ///
    /// # Errors
    /// [`ReadError`], naming the first node that is wrong.
    pub fn check(&mut self) -> Result<u64, ReadError> {
        Ok(self.tree(0)?.len() as u64)
    }

    /// Reads the whole tree. `piece` is what its files' data are said to lie in.
    pub(crate) fn tree(&mut self, piece: u16) -> Result<Tree, ReadError> {
        load::load(&mut self.bytes, &self.superblock, self.data_blocks, piece)
    }
}

/// Checks that the extra devices follow the image and each other without gaps. Returns where the last one ends.
fn device_table(bytes: &mut Windows, superblock: &Superblock) -> Result<u32, ReadError> {
    let mut end = superblock.blocks.get();
    if superblock.feature_incompat.get() & INCOMPAT_DEVICE_TABLE == 0 {
        return Ok(end);
    }
    let first = u64::from(superblock.device_slot.get());
    for index in 0..superblock.extra_devices.get() {
        let mut raw = [0; DEVICE_SLOT_SIZE as usize];
        bytes.read((first + u64::from(index)) * DEVICE_SLOT_SIZE, &mut raw)?;
        let slot = DeviceSlot::read_from_bytes(&raw).expect("sizes agree");
        let next = end
            .checked_add(slot.blocks.get())
            .filter(|_| slot.uniaddr.get() == end);
        end = next.ok_or(ReadError::Device {
            index,
            start: slot.uniaddr.get(),
            expected: end,
        })?;
    }
    Ok(end)
}

fn check_superblock(superblock: &Superblock, computed: u32) -> Result<(), ReadError> {
    let unsupported = |field, value: u64| Err(ReadError::Unsupported { field, value });
    let magic = superblock.magic.get();
    if magic != MAGIC {
        return Err(ReadError::NotErofs { found: magic });
    }
    let stated = superblock.checksum.get();
    if superblock.feature_compat.get() & COMPAT_SB_CHECKSUM != 0 && stated != computed {
        return Err(ReadError::Checksum { stated, computed });
    }
    if superblock.block_bits != BLOCK_BITS {
        return unsupported("block size exponent", superblock.block_bits.into());
    }
    if superblock.directory_block_bits != 0 {
        return unsupported(
            "directory block size exponent",
            superblock.directory_block_bits.into(),
        );
    }
    match superblock.feature_incompat.get() & !(INCOMPAT_CHUNKED_FILE | INCOMPAT_DEVICE_TABLE) {
        0 => Ok(()),
        unknown => unsupported("incompatible features", unknown.into()),
    }
}

#[cfg(test)]
mod tests;
