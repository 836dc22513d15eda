//! Writes a planned tree: superblock, device table, inodes, directory blocks.

use std::fs::File;
use std::os::unix::fs::FileExt;

use zerocopy::IntoBytes;

use crate::crc32c::crc32c;
use crate::data_area::piece_length;
use crate::directory;
use crate::layout::*;
use crate::metadata::Device;
use crate::plan::{Place, Plan};
use crate::sparse::chunk_count;
use crate::tree::{Blocks, Inode, Kind, Regular, Tree};
use crate::write_error::WriteError;
use crate::xattr;

/// Where the metadata of an image goes, and what it refers to.
pub(crate) struct Target<'a> {
    pub file: &'a File,
    /// Block at which the inode area starts.
    pub meta_block: u64,
    /// Per piece: the block that its block 0 is, as inodes shall state it.
    pub piece_bases: &'a [u32],
    /// Extra devices; their table follows the superblock.
    pub devices: &'a [DeviceSlot],
}

/// First slot of the device table, right behind the superblock.
const DEVICE_SLOT: u16 = 9;
/// Bytes that are collected before they are written.
const BATCH: usize = 1 << 20;

/// Blocks that the superblock and a table of this many devices take.
pub(crate) fn header_blocks(devices: usize) -> u64 {
    (DEVICE_SLOT_SIZE * (u64::from(DEVICE_SLOT) + devices as u64)).div_ceil(BLOCK_SIZE)
}

/// Length in bytes of an image whose inode area starts at `meta_block`, whole pieces.
pub(crate) fn image_length(plan: &Plan, meta_block: u64) -> Result<u64, WriteError> {
    let blocks = meta_block + plan.inode_bytes.div_ceil(BLOCK_SIZE) + plan.blocks;
    let length = piece_length(blocks * BLOCK_SIZE);
    match length / BLOCK_SIZE < MAX_BLOCKS {
        true => Ok(length),
        false => Err(WriteError::TooLarge { limit: MAX_BLOCKS }),
    }
}

/// Writes everything but file data, and gives the file its full length. Returns that length in blocks.
pub(crate) fn emit(tree: &Tree, plan: &Plan, target: &Target<'_>) -> Result<u32, WriteError> {
    let length = image_length(plan, target.meta_block)?;
    target
        .file
        .set_len(length)
        .map_err(WriteError::io("extend"))?;
    let blocks = u32::try_from(length / BLOCK_SIZE).expect("image_length() bounds it");
    let mut out = Batch {
        file: target.file,
        offset: target.meta_block * BLOCK_SIZE,
        bytes: Vec::new(),
    };
    let encoder = Encoder {
        tree,
        plan,
        piece_bases: target.piece_bases,
        block_area: target.meta_block + plan.inode_bytes.div_ceil(BLOCK_SIZE),
    };
    for (index, place) in plan.places.iter().enumerate() {
        out.pad_to(target.meta_block * BLOCK_SIZE + place.offset);
        encoder.inode(index, place, &mut out.bytes);
        out.flush_if_full()?;
    }
    for place in plan
        .places
        .iter()
        .filter(|place| encoder.has_content(place) && place.whole_blocks() > 0)
    {
        out.pad_to((encoder.block_area + place.first_block) * BLOCK_SIZE);
        let content = encoder.content(place);
        out.bytes.extend_from_slice(
            &content[..content
                .len()
                .min((place.whole_blocks() * BLOCK_SIZE) as usize)],
        );
        out.flush_if_full()?;
    }
    out.flush()?;
    header(plan, target, blocks)?;
    Ok(blocks)
}

fn header(plan: &Plan, target: &Target<'_>, blocks: u32) -> Result<(), WriteError> {
    let mut incompat = 0;
    if plan.has_chunks {
        incompat |= INCOMPAT_CHUNKED_FILE;
    }
    if !target.devices.is_empty() {
        incompat |= INCOMPAT_DEVICE_TABLE;
    }
    let root_nid = u16::try_from(plan.nid(Tree::ROOT)).expect("the root is placed first");
    let superblock = Superblock {
        magic: MAGIC.into(),
        checksum: 0.into(),
        feature_compat: (COMPAT_SB_CHECKSUM | COMPAT_MTIME).into(),
        block_bits: BLOCK_BITS,
        extension_slots: 0,
        root_nid: root_nid.into(),
        inodes: (plan.places.len() as u64).into(),
        build_time: 0.into(),
        build_time_nsec: 0.into(),
        blocks: blocks.into(),
        meta_block: (target.meta_block as u32).into(),
        xattr_block: 0.into(),
        uuid: [0; 16],
        volume_name: [0; 16],
        feature_incompat: incompat.into(),
        compression: 0.into(),
        extra_devices: (target.devices.len() as u16).into(),
        device_slot: if target.devices.is_empty() {
            0
        } else {
            DEVICE_SLOT
        }
        .into(),
        directory_block_bits: 0,
        xattr_prefix_count: 0,
        xattr_prefix_start: 0.into(),
        packed_nid: 0.into(),
        reserved: [0; 24],
    };
    let mut bytes = superblock.as_bytes().to_vec();
    for slot in target.devices {
        bytes.extend_from_slice(slot.as_bytes());
    }
    let checked = (BLOCK_SIZE - SUPERBLOCK_OFFSET) as usize;
    bytes.resize(bytes.len().max(checked), 0);
    let checksum = crc32c(&bytes[..checked]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
    target
        .file
        .write_all_at(&bytes, SUPERBLOCK_OFFSET)
        .map_err(WriteError::io("write to"))
}

struct Encoder<'a> {
    tree: &'a Tree,
    plan: &'a Plan,
    piece_bases: &'a [u32],
    /// First block of the block area.
    block_area: u64,
}

impl Encoder<'_> {
    /// The inode and everything behind it.
    fn inode(&self, index: usize, place: &Place, out: &mut Vec<u8>) {
        let inode = self.tree.get(place.id);
        let xattrs = xattr::disk_xattrs(inode);
        let (layout, address) = self.layout(inode, place);
        let disk = DiskInode {
            format: (FORMAT_EXTENDED | layout << 1).into(),
            xattr_count: xattr::count_field(xattr::body_size(&xattrs)).into(),
            mode: (mode_type(&inode.kind) | inode.meta.mode & 0o7777).into(),
            reserved: 0.into(),
            size: place.size.into(),
            address: address.into(),
            ino: (index as u32 + 1).into(),
            uid: inode.meta.uid.into(),
            gid: inode.meta.gid.into(),
            mtime: inode.meta.mtime.seconds.cast_unsigned().into(),
            mtime_nsec: inode.meta.mtime.nanoseconds.into(),
            nlink: place.nlink.into(),
            reserved2: [0; 16],
        };
        out.extend_from_slice(disk.as_bytes());
        xattr::encode(&xattrs, out);
        if place.inline {
            let content = self.content(place);
            out.extend_from_slice(&content[(place.whole_blocks() * BLOCK_SIZE) as usize..]);
        }
        if let Kind::Regular(regular) = &inode.kind {
            self.indexes(regular, out);
        }
    }

    /// The data layout and the inode's address field.
    fn layout(&self, inode: &Inode, place: &Place) -> (u16, u32) {
        match &inode.kind {
            Kind::Directory(_) | Kind::Symlink(_) => {
                let layout = if place.inline {
                    LAYOUT_INLINE
                } else {
                    LAYOUT_PLAIN
                };
                (layout, (self.block_area + place.first_block) as u32)
            }
            Kind::Regular(Regular { size: 0, .. }) => (LAYOUT_PLAIN, NULL_BLOCK),
            Kind::Regular(Regular {
                piece,
                blocks: Blocks::Plain(first),
                ..
            }) => (LAYOUT_PLAIN, self.piece_bases[usize::from(*piece)] + first),
            Kind::Regular(Regular {
                blocks: Blocks::Chunks { chunk_bits, .. },
                ..
            }) => (LAYOUT_CHUNKS, u32::from(*chunk_bits)),
            Kind::Device { major, minor, .. } => (LAYOUT_PLAIN, encode_device(*major, *minor)),
            Kind::Fifo | Kind::Socket | Kind::Whiteout => (LAYOUT_PLAIN, 0),
            Kind::DeferredLink(_) => (LAYOUT_PLAIN, NULL_BLOCK),
        }
    }

    fn indexes(&self, regular: &Regular, out: &mut Vec<u8>) {
        let Blocks::Chunks { chunk_bits, runs } = &regular.blocks else {
            return;
        };
        let start = out.len();
        let count = chunk_count(regular.size, *chunk_bits) as usize;
        out.resize(start + count * 4, 0xff);
        let base = self.piece_bases[usize::from(regular.piece)];
        for run in runs {
            for nth in 0..run.count {
                let block = base + run.block + (nth << chunk_bits);
                let at = start + (run.first + nth) as usize * 4;
                out[at..at + 4].copy_from_slice(&block.to_le_bytes());
            }
        }
    }

    fn has_content(&self, place: &Place) -> bool {
        matches!(
            self.tree.get(place.id).kind,
            Kind::Directory(_) | Kind::Symlink(_)
        )
    }

    /// The bytes of a directory or a link.
    fn content(&self, place: &Place) -> Vec<u8> {
        match &self.tree.get(place.id).kind {
            Kind::Directory(directory) => {
                let entry = |name, id| directory::Entry {
                    name,
                    nid: self.plan.nid(id),
                    file_type: file_type(mode_type(&self.tree.get(id).kind)),
                };
                let mut entries = vec![entry(&b"."[..], place.id), entry(b"..", directory.parent)];
                entries.extend(directory.children.iter().map(|(name, &id)| entry(name, id)));
                entries.sort_unstable_by_key(|entry| entry.name);
                let mut bytes = Vec::new();
                directory::encode(&entries, &mut bytes);
                bytes
            }
            Kind::Symlink(target) => target.to_vec(),
            _ => Vec::new(),
        }
    }
}

fn mode_type(kind: &Kind) -> u16 {
    match kind {
        Kind::Directory(_) => S_IFDIR,
        Kind::Regular(_) | Kind::DeferredLink(_) => S_IFREG,
        Kind::Symlink(_) => S_IFLNK,
        Kind::Device {
            device: Device::Block,
            ..
        } => S_IFBLK,
        Kind::Device {
            device: Device::Character,
            ..
        }
        | Kind::Whiteout => S_IFCHR,
        Kind::Fifo => S_IFIFO,
        Kind::Socket => S_IFSOCK,
    }
}

/// Linux's `new_encode_dev`.
fn encode_device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// Bytes on their way to consecutive offsets of the file.
struct Batch<'a> {
    file: &'a File,
    /// Where `bytes` start.
    offset: u64,
    bytes: Vec<u8>,
}

impl Batch<'_> {
    fn pad_to(&mut self, offset: u64) {
        let length = usize::try_from(offset - self.offset).expect("offsets ascend in small steps");
        self.bytes.resize(length, 0);
    }

    fn flush_if_full(&mut self) -> Result<(), WriteError> {
        if self.bytes.len() >= BATCH {
            self.flush()
        } else {
            Ok(())
        }
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.file
            .write_all_at(&self.bytes, self.offset)
            .map_err(WriteError::io("write to"))?;
        self.offset += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}
