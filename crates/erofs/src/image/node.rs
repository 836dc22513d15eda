//! One node of an image: its inode, attributes, and where its data lie, all checked against the image's bounds.

use zerocopy::FromBytes;

use super::{ReadError, Windows};
use crate::layout::*;
use crate::metadata::{Device, Metadata, Timestamp};
use crate::path::MAX_PATH;
use crate::sparse::{MAX_CHUNK_BITS, MAX_CHUNKS, chunk_count};
use crate::tree::{Blocks, Directory, Inode, Kind, Presence, Regular, Run, Tree};
use crate::xattr::{self, IMPLIED, LINK, OPAQUE, PASSAGE, PRESENCE, Xattrs};

/// An image as a table of nodes.
pub(super) struct Nodes<'a> {
    bytes: &'a mut Windows,
    /// Byte offset of node 0.
    meta: u64,
    /// Blocks that data may lie in: the image's and its extra devices'.
    blocks: u32,
    /// What the files' data are said to lie in.
    piece: u16,
    /// Bytes of metadata that may still be read. Each belongs to one node, so an image cannot have more than it is
    /// long; nodes that share bytes could multiply a small image into a tree of any size.
    left: u64,
}

/// A node as it was read. A directory's parent is not known here.
pub(super) struct Node {
    pub inode: Inode,
    pub links: u32,
    /// See [`file_type`].
    pub file_type: u8,
    /// Directories: where the entries are.
    pub content: Content,
}

/// Where a directory's or link's bytes are.
#[derive(Clone, Copy, Default)]
pub(super) struct Content {
    pub size: u64,
    /// Byte offset of the whole blocks, and how many bytes they have.
    blocks: (u64, u64),
    /// Byte offset of the rest.
    tail: u64,
}

impl<'a> Nodes<'a> {
    pub(super) fn new(
        bytes: &'a mut Windows,
        superblock: &Superblock,
        blocks: u32,
        piece: u16,
    ) -> Self {
        let left = bytes.length();
        let meta = u64::from(superblock.meta_block.get()) * BLOCK_SIZE;
        Self {
            bytes,
            meta,
            blocks,
            piece,
            left,
        }
    }

    /// Reads bytes that belong to one node.
    pub(super) fn take(&mut self, offset: u64, length: u64) -> Result<Vec<u8>, ReadError> {
        self.left = self
            .left
            .checked_sub(length)
            .ok_or(ReadError::SharedBytes)?;
        let mut bytes = vec![0; length as usize];
        self.bytes.read(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// Reads a node.
    pub(super) fn read(&mut self, nid: u64) -> Result<Node, ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        let start = nid
            .checked_mul(INODE_SLOT)
            .and_then(|offset| offset.checked_add(self.meta));
        let start = start.ok_or(fault("lies outside of the image"))?;
        let raw = self.take(start, INODE_SIZE)?;
        let disk = DiskInode::read_from_bytes(&raw).map_err(|_| fault("is cut short"))?;
        if disk.format.get() & FORMAT_EXTENDED == 0 {
            return Err(fault("is a compact inode, which is not supported"));
        }
        if disk.mtime_nsec.get() >= 1_000_000_000 {
            return Err(fault("has a time beyond its second"));
        }
        let (mut xattrs, end) = self.xattrs(nid, &disk, start + INODE_SIZE)?;
        let marks = take_marks(&mut xattrs);
        let mode = disk.mode.get();
        let content = match mode & S_IFMT {
            S_IFDIR | S_IFLNK => self.content(nid, &disk, end)?,
            _ => Content::default(),
        };
        let kind = self.kind(nid, &disk, end, content, marks)?;
        let seconds = disk.mtime.get().cast_signed();
        let mtime = Timestamp {
            seconds,
            nanoseconds: disk.mtime_nsec.get(),
        };
        let meta = Metadata {
            mode: mode & 0o7777,
            uid: disk.uid.get(),
            gid: disk.gid.get(),
            mtime,
            xattrs,
        };
        Ok(Node {
            inode: Inode { meta, kind },
            links: disk.nlink.get(),
            file_type: file_type(mode),
            content,
        })
    }

    fn xattrs(
        &mut self,
        nid: u64,
        disk: &DiskInode,
        start: u64,
    ) -> Result<(Xattrs, u64), ReadError> {
        let count = u64::from(disk.xattr_count.get());
        if count == 0 {
            return Ok((Vec::new(), start));
        }
        let body = self.take(start, XATTR_HEADER_SIZE as u64 + (count - 1) * 4)?;
        match xattr::decode(&body) {
            Ok(xattrs) => Ok((xattrs, start + body.len() as u64)),
            Err(reason) => Err(ReadError::Xattrs { nid, reason }),
        }
    }

    fn kind(
        &mut self,
        nid: u64,
        disk: &DiskInode,
        end: u64,
        content: Content,
        marks: Marks,
    ) -> Result<Kind, ReadError> {
        let address = disk.address.get();
        let device = |device| {
            let (major, minor) = decode_device(address);
            Kind::Device {
                device,
                major,
                minor,
            }
        };
        Ok(match disk.mode.get() & S_IFMT {
            S_IFDIR => Kind::Directory(Directory {
                opaque: marks.opaque,
                ..Directory::new(Tree::ROOT, marks.presence)
            }),
            S_IFREG => match marks.link {
                Some(target) => Kind::DeferredLink(target.into()),
                None => Kind::Regular(self.regular(nid, disk, end)?),
            },
            S_IFLNK => self.symlink(nid, content)?,
            S_IFCHR if address == 0 => Kind::Whiteout,
            S_IFCHR => device(Device::Character),
            S_IFBLK => device(Device::Block),
            S_IFIFO => Kind::Fifo,
            S_IFSOCK => Kind::Socket,
            _ => {
                return Err(ReadError::Node {
                    nid,
                    reason: "has an unknown file type",
                });
            }
        })
    }

    fn symlink(&mut self, nid: u64, content: Content) -> Result<Kind, ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        if content.size == 0 || content.size > MAX_PATH as u64 {
            return Err(fault(
                "is a symbolic link with a target of no byte or more than 4095",
            ));
        }
        let target = self.take(content.offset(0), content.size)?;
        match target.contains(&0) {
            true => Err(fault("is a symbolic link with a NUL byte in its target")),
            false => Ok(Kind::Symlink(target.into())),
        }
    }

    fn regular(&mut self, nid: u64, disk: &DiskInode, end: u64) -> Result<Regular, ReadError> {
        let size = disk.size.get();
        let blocks = match disk.format.get() >> 1 {
            _ if size == 0 => Blocks::Plain(0),
            LAYOUT_PLAIN => {
                self.check_data(nid, disk.address.get().into(), size.div_ceil(BLOCK_SIZE))?;
                Blocks::Plain(disk.address.get())
            }
            LAYOUT_CHUNKS => self.chunks(nid, size, disk.address.get(), end)?,
            _ => {
                return Err(ReadError::Node {
                    nid,
                    reason: "is a file whose data layout rules out DAX",
                });
            }
        };
        Ok(Regular {
            size,
            piece: self.piece,
            blocks,
        })
    }

    fn chunks(&mut self, nid: u64, size: u64, format: u32, end: u64) -> Result<Blocks, ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        let chunk_bits = u8::try_from(format)
            .ok()
            .filter(|&bits| bits <= MAX_CHUNK_BITS);
        let chunk_bits = chunk_bits.ok_or(fault("has a chunk format that is not supported"))?;
        let file_blocks = size.div_ceil(BLOCK_SIZE);
        let count = chunk_count(size, chunk_bits);
        if file_blocks >= MAX_BLOCKS || count > MAX_CHUNKS {
            return Err(fault("has too many chunks"));
        }
        let indexes = self.take(end, count * 4)?;
        let mut runs: Vec<Run> = Vec::new();
        for (nth, index) in indexes.chunks_exact(4).enumerate() {
            let block = u32::from_le_bytes(index.try_into().expect("chunks of 4"));
            if block == NULL_BLOCK {
                continue;
            }
            let first = nth as u64;
            let length = (1 << chunk_bits).min(file_blocks - (first << chunk_bits));
            self.check_data(nid, block.into(), length)?;
            match runs
                .last_mut()
                .filter(|run| run.is_followed_by(first, block, chunk_bits))
            {
                Some(run) => run.count += 1,
                None => runs.push(Run {
                    first: nth as u32,
                    count: 1,
                    block,
                }),
            }
        }
        Ok(Blocks::Chunks {
            chunk_bits,
            runs: runs.into(),
        })
    }

    fn check_data(&self, nid: u64, first: u64, count: u64) -> Result<(), ReadError> {
        match first.checked_add(count) {
            Some(end) if end <= u64::from(self.blocks) => Ok(()),
            _ => Err(ReadError::DataOutOfImage {
                nid,
                first,
                count,
                blocks: self.blocks,
            }),
        }
    }

    /// Locates a directory's or link's bytes; `end` is where the part behind the inode would start.
    fn content(&self, nid: u64, disk: &DiskInode, end: u64) -> Result<Content, ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        let size = disk.size.get();
        let whole = match disk.format.get() >> 1 {
            LAYOUT_PLAIN => size.div_ceil(BLOCK_SIZE),
            LAYOUT_INLINE => size / BLOCK_SIZE,
            _ => return Err(fault("has a data layout that is not supported")),
        };
        let first = u64::from(disk.address.get());
        if whole > 0 {
            self.check_data(nid, first, whole)?;
        }
        let tail = size.saturating_sub(whole * BLOCK_SIZE);
        if tail > 0 && end % BLOCK_SIZE + tail > BLOCK_SIZE {
            return Err(fault("has inline data that cross a block boundary"));
        }
        Ok(Content {
            size,
            blocks: (first * BLOCK_SIZE, whole * BLOCK_SIZE),
            tail: end,
        })
    }
}

impl Content {
    /// Byte offset in the image of a position that is a multiple of the block size.
    pub(super) fn offset(&self, position: u64) -> u64 {
        let (start, length) = self.blocks;
        if position < length {
            start + position
        } else {
            self.tail + (position - length)
        }
    }
}

/// The inverse of `new_encode_dev`.
fn decode_device(address: u32) -> (u32, u32) {
    (
        (address >> 8) & 0xfff,
        (address & 0xff) | ((address >> 12) & 0xf_ff00),
    )
}

/// What the overlay-reserved attributes of a layer's node say.
struct Marks {
    opaque: bool,
    presence: Presence,
    link: Option<Vec<u8>>,
}

/// Removes all overlay-reserved attributes and returns what ours among them mean.
fn take_marks(xattrs: &mut Xattrs) -> Marks {
    let mut marks = Marks {
        opaque: false,
        presence: Presence::Explicit,
        link: None,
    };
    xattrs.retain_mut(|(name, value)| {
        match &name[..] {
            OPAQUE => marks.opaque = value == b"y",
            PRESENCE if value == PASSAGE => marks.presence = Presence::Passage,
            PRESENCE if value == IMPLIED => marks.presence = Presence::Implied,
            LINK => marks.link = Some(std::mem::take(value)),
            _ => {}
        }
        !xattr::is_overlay_reserved(name)
    });
    marks
}
