//! The bytes of an EROFS image, as `fs/erofs/erofs_fs.h` of the Linux kernel defines them, in its field order.
//!
//! Only the uncompressed part of the format is here. Every integer is little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Block size in bytes. DAX needs it to equal the guest's page size.
pub const BLOCK_SIZE: u64 = 4096;
/// Base-2 logarithm of [`BLOCK_SIZE`], as the superblock stores it.
pub(crate) const BLOCK_BITS: u8 = 12;
/// Every piece of an image (metadata or layer) has a multiple of this length in bytes: one huge page.
pub const PIECE_ALIGNMENT: u64 = 2 << 20;
/// [`PIECE_ALIGNMENT`] in blocks. Files at least this long start on such a boundary.
pub(crate) const HUGE_BLOCKS: u64 = PIECE_ALIGNMENT / BLOCK_SIZE;
/// Block addresses have 32 bits, and the last value means "hole".
pub(crate) const MAX_BLOCKS: u64 = NULL_BLOCK as u64;
/// Block address of a hole, and of an inode without blocks.
pub(crate) const NULL_BLOCK: u32 = u32::MAX;

pub(crate) const SUPERBLOCK_OFFSET: u64 = 1024;
pub(crate) const MAGIC: u32 = 0xE0F5_E1E2;
pub(crate) const COMPAT_SB_CHECKSUM: u32 = 0x1;
pub(crate) const COMPAT_MTIME: u32 = 0x2;
pub(crate) const INCOMPAT_CHUNKED_FILE: u32 = 0x4;
pub(crate) const INCOMPAT_DEVICE_TABLE: u32 = 0x8;

/// Inodes start at multiples of this; a node id counts such slots from the metadata start.
pub(crate) const INODE_SLOT: u64 = 32;
/// Size of the extended inode, the only kind that is written: it alone holds nanoseconds and 32-bit owners.
pub(crate) const INODE_SIZE: u64 = 64;
/// `i_format` bit 0: extended inode. The data layout follows from bit 1.
pub(crate) const FORMAT_EXTENDED: u16 = 1;
pub(crate) const LAYOUT_PLAIN: u16 = 0;
pub(crate) const LAYOUT_INLINE: u16 = 2;
/// The address of such an inode is its chunk format: bits 0 to 4 are log2(blocks per chunk), bit 5 selects 8-byte
/// indexes, which are never written here.
pub(crate) const LAYOUT_CHUNKS: u16 = 4;
/// Size of a directory entry before the names.
pub(crate) const DIRENT_SIZE: usize = 12;
pub(crate) const DEVICE_SLOT_SIZE: u64 = 128;
/// Size of the header before an inode's extended attributes.
pub(crate) const XATTR_HEADER_SIZE: usize = 12;

pub(crate) const S_IFMT: u16 = 0o170_000;
pub(crate) const S_IFSOCK: u16 = 0o140_000;
pub(crate) const S_IFLNK: u16 = 0o120_000;
pub(crate) const S_IFREG: u16 = 0o100_000;
pub(crate) const S_IFBLK: u16 = 0o060_000;
pub(crate) const S_IFDIR: u16 = 0o040_000;
pub(crate) const S_IFCHR: u16 = 0o020_000;
pub(crate) const S_IFIFO: u16 = 0o010_000;

/// `struct erofs_super_block`.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct Superblock {
    pub magic: U32,
    pub checksum: U32,
    pub feature_compat: U32,
    pub block_bits: u8,
    pub extension_slots: u8,
    pub root_nid: U16,
    pub inodes: U64,
    pub build_time: U64,
    pub build_time_nsec: U32,
    pub blocks: U32,
    pub meta_block: U32,
    pub xattr_block: U32,
    pub uuid: [u8; 16],
    pub volume_name: [u8; 16],
    pub feature_incompat: U32,
    pub compression: U16,
    pub extra_devices: U16,
    pub device_slot: U16,
    pub directory_block_bits: u8,
    pub xattr_prefix_count: u8,
    pub xattr_prefix_start: U32,
    pub packed_nid: U64,
    pub reserved: [u8; 24],
}

/// `struct erofs_inode_extended`. `address` is the first block, the device number or the chunk format.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct DiskInode {
    pub format: U16,
    pub xattr_count: U16,
    pub mode: U16,
    pub reserved: U16,
    pub size: U64,
    pub address: U32,
    pub ino: U32,
    pub uid: U32,
    pub gid: U32,
    pub mtime: U64,
    pub mtime_nsec: U32,
    pub nlink: U32,
    pub reserved2: [u8; 16],
}

/// `struct erofs_dirent`; the names of a block follow its entries.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct Dirent {
    pub nid: U64,
    pub name_offset: U16,
    pub file_type: u8,
    pub reserved: u8,
}

/// `struct erofs_xattr_entry`; the name without its prefix and the value follow, padded to 4 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct XattrEntry {
    pub name_len: u8,
    pub prefix: u8,
    pub value_size: U16,
}

/// `struct erofs_deviceslot`: one extra device and its place in the unified address space, in blocks.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(crate) struct DeviceSlot {
    pub tag: [u8; 64],
    pub blocks: U32,
    pub uniaddr: U32,
    pub reserved: [u8; 56],
}

const _: () = assert!(size_of::<Superblock>() == 128);
const _: () = assert!(size_of::<DiskInode>() as u64 == INODE_SIZE);
const _: () = assert!(size_of::<Dirent>() == DIRENT_SIZE);
const _: () = assert!(size_of::<DeviceSlot>() as u64 == DEVICE_SLOT_SIZE);

/// The value of a directory entry's `file_type` for an inode mode.
pub(crate) fn file_type(mode: u16) -> u8 {
    match mode & S_IFMT {
        S_IFREG => 1,
        S_IFDIR => 2,
        S_IFCHR => 3,
        S_IFBLK => 4,
        S_IFIFO => 5,
        S_IFSOCK => 6,
        S_IFLNK => 7,
        _ => 0,
    }
}
