//! The configuration space (virtio 1.2 section 5.2.4).

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{Immutable, IntoBytes};

use super::disk::{Disk, SECTOR};
use super::request::{MAX_RANGE_SECTORS, MAX_RANGES, MAX_SEGMENTS};

/// Alignment of discards and size of a block where the host's file system does not say: its page.
const PAGE: u32 = 4096;

/// `struct virtio_blk_config`, as far as features are offered.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Config {
    capacity: U64,
    size_max: U32,
    seg_max: U32,
    geometry: [u8; 4],
    blk_size: U32,
    physical_block_exp: u8,
    alignment_offset: u8,
    min_io_size: U16,
    opt_io_size: U32,
    writeback: u8,
    unused0: u8,
    num_queues: U16,
    max_discard_sectors: U32,
    max_discard_seg: U32,
    discard_sector_alignment: U32,
    max_write_zeroes_sectors: U32,
    max_write_zeroes_seg: U32,
    write_zeroes_may_unmap: u8,
    unused1: [u8; 3],
}

impl Config {
    /// What `disk` with `queues` queues says of itself.
    pub fn new(disk: &Disk, queues: u16) -> Self {
        // At least a sector and at most a page, a power of two.
        let block = disk.block_size().clamp(SECTOR as u32, PAGE);
        let sectors = block / SECTOR as u32;
        Self {
            capacity: disk.sectors().into(),
            size_max: 0.into(),
            seg_max: MAX_SEGMENTS.into(),
            geometry: [0; 4],
            blk_size: (SECTOR as u32).into(),
            physical_block_exp: sectors.ilog2() as u8,
            alignment_offset: 0,
            min_io_size: (sectors as u16).into(),
            opt_io_size: 0.into(),
            writeback: 0,
            unused0: 0,
            num_queues: queues.into(),
            max_discard_sectors: MAX_RANGE_SECTORS.into(),
            max_discard_seg: MAX_RANGES.into(),
            discard_sector_alignment: sectors.into(),
            max_write_zeroes_sectors: MAX_RANGE_SECTORS.into(),
            max_write_zeroes_seg: MAX_RANGES.into(),
            write_zeroes_may_unmap: 1,
            unused1: [0; 3],
        }
    }
}
