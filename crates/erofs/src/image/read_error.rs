//! What can be wrong with an image.

use std::io;

/// Why an image could not be read. A node id (`nid`) is what `dump.erofs --nid` takes.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The image file itself failed.
    #[error("cannot read the image: {0}")]
    Io(#[source] io::Error),
    /// Not an EROFS image at all.
    #[error("not an EROFS image: its magic number is {found:#010x}")]
    NotErofs {
        /// What stands where the magic number belongs.
        found: u32,
    },
    /// The superblock was changed after it was written.
    #[error("the superblock's checksum is {stated:#010x} but its content has {computed:#010x}")]
    Checksum {
        /// The checksum in the superblock.
        stated: u32,
        /// The checksum of its content.
        computed: u32,
    },
    /// A part of the format that is not read here.
    #[error("the image's {field} {value:#x} is not supported")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value, or the bits of it that are unknown.
        value: u64,
    },
    /// The file is shorter than the superblock says.
    #[error("the image file has {length} bytes, fewer than its {blocks} blocks of 4 KiB")]
    Truncated {
        /// Blocks by the superblock.
        blocks: u32,
        /// Length of the file in bytes.
        length: u64,
    },
    /// An extra device that does not start where the one before ends.
    #[error(
        "extra device {index} starts at block {start} instead of {expected}, or ends beyond all addresses"
    )]
    Device {
        /// Its index in the device table.
        index: u16,
        /// Its start in blocks.
        start: u32,
        /// Where the one before ends.
        expected: u32,
    },
    /// Metadata that would lie outside of the image.
    #[error("{length} bytes at {offset} lie outside of the image")]
    OutOfImage {
        /// Byte offset.
        offset: u64,
        /// Length in bytes.
        length: u64,
    },
    /// A node that contradicts itself.
    #[error("node {nid} {reason}")]
    Node {
        /// Its id.
        nid: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Extended attributes that contradict themselves.
    #[error("the body of extended attributes of node {nid} {reason}")]
    Xattrs {
        /// The node's id.
        nid: u64,
        /// What is wrong with them.
        reason: &'static str,
    },
    /// A node's data would lie outside of the image.
    #[error(
        "the data of node {nid}, {count} blocks from block {first} on, lie outside of the image's {blocks} blocks"
    )]
    DataOutOfImage {
        /// Its id.
        nid: u64,
        /// First block.
        first: u64,
        /// Number of blocks.
        count: u64,
        /// Blocks of the image.
        blocks: u32,
    },
    /// A node whose link count is not the number of its names.
    #[error("node {nid} states {stated} links but has {found}")]
    LinkCount {
        /// Its id.
        nid: u64,
        /// Links by its inode.
        stated: u32,
        /// Links by the directories.
        found: u32,
    },
    /// More bytes of metadata than the image is long.
    #[error("nodes of the image share bytes")]
    SharedBytes,
    /// More names than any image in use has.
    #[error("the image has more than {limit} names")]
    TooManyNames {
        /// The limit.
        limit: usize,
    },
}
