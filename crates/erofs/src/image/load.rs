//! From an image to a [`Tree`]: directories breadth first, each node once.

use std::collections::{HashMap, VecDeque};

use zerocopy::FromBytes;

use super::{ReadError, Windows};
use crate::directory::decode_block;
use crate::layout::*;
use crate::metadata::{Device, Metadata, Timestamp};
use crate::path::{MAX_PATH, name_fault};
use crate::sparse::{MAX_CHUNKS, chunk_count};
use crate::tree::{Blocks, Directory, Inode, InodeId, Kind, MAX_INODES, Regular, Run, Tree};
use crate::xattr::{self, IMPLIED, LINK, OPAQUE, Xattrs};

pub(super) fn load(
    bytes: &mut Windows,
    superblock: &Superblock,
    piece: u16,
) -> Result<Tree, ReadError> {
    let loader = Loader {
        bytes,
        meta: u64::from(superblock.meta_block.get()) * BLOCK_SIZE,
        blocks: superblock.blocks.get(),
        piece,
        tree: Tree::new(),
        seen: HashMap::new(),
        names: 0,
    };
    loader.run(u64::from(superblock.root_nid.get()))
}

struct Loader<'a> {
    bytes: &'a mut Windows,
    /// Byte offset of node 0.
    meta: u64,
    blocks: u32,
    piece: u16,
    tree: Tree,
    seen: HashMap<u64, Node>,
    /// Names so far; one node may have many.
    names: usize,
}

/// A node that was read.
#[derive(Clone, Copy)]
struct Node {
    id: InodeId,
    file_type: u8,
    stated_links: u32,
    found_links: u32,
}

/// A directory that is yet to be listed.
struct Pending {
    nid: u64,
    parent: u64,
    id: InodeId,
    content: Content,
}

/// Where a directory's or link's bytes are.
#[derive(Clone, Copy)]
struct Content {
    size: u64,
    /// Byte offset of the whole blocks, and how many there are.
    blocks: (u64, u64),
    /// Byte offset of the rest.
    tail: u64,
}

impl Loader<'_> {
    fn run(mut self, root: u64) -> Result<Tree, ReadError> {
        let (inode, disk, end) = self.inode(root)?;
        if !matches!(inode.kind, Kind::Directory(_)) {
            return Err(ReadError::Node {
                nid: root,
                reason: "is the root but no directory",
            });
        }
        *self.tree.get_mut(Tree::ROOT) = inode;
        let content = self.content(root, &disk, end)?;
        self.seen.insert(root, Node::new(Tree::ROOT, &disk));
        let mut queue = VecDeque::from([Pending {
            nid: root,
            parent: root,
            id: Tree::ROOT,
            content,
        }]);
        while let Some(directory) = queue.pop_front() {
            self.list(&directory, &mut queue)?;
        }
        for (&nid, node) in &self.seen {
            if node.stated_links != node.found_links {
                return Err(ReadError::LinkCount {
                    nid,
                    stated: node.stated_links,
                    found: node.found_links,
                });
            }
        }
        Ok(self.tree)
    }

    /// Reads the entries of a directory, and the nodes behind them.
    fn list(
        &mut self,
        directory: &Pending,
        queue: &mut VecDeque<Pending>,
    ) -> Result<(), ReadError> {
        let Pending {
            nid,
            parent,
            content,
            ..
        } = *directory;
        let fault = |reason| ReadError::Node { nid, reason };
        let mut last: Option<Vec<u8>> = None;
        let mut dots = 0;
        let mut position = 0;
        while position < content.size {
            let mut block = vec![0; BLOCK_SIZE.min(content.size - position) as usize];
            self.bytes.read(content.offset(position), &mut block)?;
            for entry in decode_block(&block).map_err(fault)? {
                if last.as_deref().is_some_and(|last| last >= entry.name) {
                    return Err(fault("has names out of order"));
                }
                last = Some(entry.name.to_vec());
                let expected = match entry.name {
                    b"." => nid,
                    b".." => parent,
                    name if name_fault(name).is_some() => {
                        return Err(fault("has an impossible name"));
                    }
                    _ => {
                        self.child(directory, entry.name, entry.nid, entry.file_type, queue)?;
                        continue;
                    }
                };
                if entry.nid != expected {
                    return Err(fault("has a '.' or '..' that leads elsewhere"));
                }
                self.link(expected);
                dots += 1;
            }
            position += BLOCK_SIZE;
        }
        if dots == 2 {
            Ok(())
        } else {
            Err(fault("is a directory without '.' or '..'"))
        }
    }

    fn link(&mut self, nid: u64) {
        if let Some(node) = self.seen.get_mut(&nid) {
            node.found_links = node.found_links.saturating_add(1);
        }
    }

    fn child(
        &mut self,
        directory: &Pending,
        name: &[u8],
        nid: u64,
        file_type: u8,
        queue: &mut VecDeque<Pending>,
    ) -> Result<(), ReadError> {
        self.names += 1;
        if self.names > MAX_INODES {
            return Err(ReadError::TooManyNames { limit: MAX_INODES });
        }
        let node = match self.seen.get(&nid) {
            Some(node) if self.tree.directory(node.id).is_some() => {
                return Err(ReadError::Node {
                    nid,
                    reason: "is a directory with two names",
                });
            }
            Some(node) => *node,
            None => self.new_node(directory, nid, queue)?,
        };
        if node.file_type != file_type {
            return Err(ReadError::Node {
                nid,
                reason: "is of another type than its name says",
            });
        }
        // A directory's own name stands for the "." or ".." that the root finds in itself.
        self.link(nid);
        let parent = self
            .tree
            .directory_mut(directory.id)
            .expect("only directories are pending");
        parent.children.insert(name.into(), node.id);
        Ok(())
    }

    fn new_node(
        &mut self,
        parent: &Pending,
        nid: u64,
        queue: &mut VecDeque<Pending>,
    ) -> Result<Node, ReadError> {
        let (inode, disk, end) = self.inode(nid)?;
        let is_directory = matches!(inode.kind, Kind::Directory(_));
        let id = self
            .tree
            .add(inode)
            .ok_or(ReadError::TooManyNames { limit: MAX_INODES })?;
        let node = Node::new(id, &disk);
        self.seen.insert(nid, node);
        if is_directory {
            let content = self.content(nid, &disk, end)?;
            queue.push_back(Pending {
                nid,
                parent: parent.nid,
                id,
                content,
            });
        }
        Ok(node)
    }

    /// Reads a node. Returns its inode, the bytes on disk and the offset behind its attributes.
    fn inode(&mut self, nid: u64) -> Result<(Inode, DiskInode, u64), ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        let start = nid
            .checked_mul(INODE_SLOT)
            .and_then(|offset| offset.checked_add(self.meta));
        let start = start.ok_or(fault("lies outside of the image"))?;
        let mut raw = [0; INODE_SIZE as usize];
        self.bytes.read(start, &mut raw)?;
        let disk = DiskInode::read_from_bytes(&raw).map_err(|_| fault("is cut short"))?;
        if disk.format.get() & FORMAT_EXTENDED == 0 {
            return Err(fault("is a compact inode, which is not supported"));
        }
        if disk.mtime_nsec.get() >= 1_000_000_000 {
            return Err(fault("has a time beyond its second"));
        }
        let (mut xattrs, end) = self.xattrs(nid, &disk, start + INODE_SIZE)?;
        let marks = take_marks(&mut xattrs);
        let kind = self.kind(nid, &disk, end, marks)?;
        let meta = Metadata {
            mode: disk.mode.get() & 0o7777,
            uid: disk.uid.get(),
            gid: disk.gid.get(),
            mtime: Timestamp {
                seconds: disk.mtime.get().cast_signed(),
                nanoseconds: disk.mtime_nsec.get(),
            },
            xattrs,
        };
        Ok((Inode { meta, kind }, disk, end))
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
        let mut body = vec![0; XATTR_HEADER_SIZE + (count as usize - 1) * 4];
        self.bytes.read(start, &mut body)?;
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
        marks: Marks,
    ) -> Result<Kind, ReadError> {
        let address = disk.address.get();
        let device = |device| {
            let (major, minor) = (
                (address >> 8) & 0xfff,
                (address & 0xff) | (address >> 12 & 0xf_ff00),
            );
            Kind::Device {
                device,
                major,
                minor,
            }
        };
        Ok(match disk.mode.get() & S_IFMT {
            S_IFDIR => Kind::Directory(Directory {
                opaque: marks.opaque,
                implied: marks.implied,
                ..Directory::default()
            }),
            S_IFREG => match marks.link {
                Some(target) => Kind::DeferredLink(target.into()),
                None => Kind::Regular(self.regular(nid, disk, end)?),
            },
            S_IFLNK => self.symlink(nid, disk, end)?,
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

    fn symlink(&mut self, nid: u64, disk: &DiskInode, end: u64) -> Result<Kind, ReadError> {
        let fault = |reason| ReadError::Node { nid, reason };
        let size = disk.size.get();
        if size == 0 || size > MAX_PATH as u64 {
            return Err(fault(
                "is a symbolic link without a target, or with one of more than 4095 bytes",
            ));
        }
        let content = self.content(nid, disk, end)?;
        let mut target = vec![0; size as usize];
        self.bytes.read(content.offset(0), &mut target)?;
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
        if format & !u32::from(CHUNK_BITS_MASK) != 0 {
            return Err(fault("has a chunk format that is not supported"));
        }
        let chunk_bits = format as u8;
        let file_blocks = size.div_ceil(BLOCK_SIZE);
        let count = chunk_count(size, chunk_bits);
        if file_blocks >= MAX_BLOCKS || count > MAX_CHUNKS {
            return Err(fault("has too many chunks"));
        }
        let mut indexes = vec![0; count as usize * 4];
        self.bytes.read(end, &mut indexes)?;
        let mut runs: Vec<Run> = Vec::new();
        for (nth, index) in indexes.chunks_exact(4).enumerate() {
            let block = u32::from_le_bytes(index.try_into().expect("chunks of 4"));
            if block == NULL_BLOCK {
                continue;
            }
            let first = nth as u64;
            let length = (1 << chunk_bits).min(file_blocks - (first << chunk_bits));
            self.check_data(nid, block.into(), length)?;
            match runs.last_mut() {
                Some(run)
                    if u64::from(run.first + run.count) == first
                        && u64::from(run.block) + (u64::from(run.count) << chunk_bits)
                            == u64::from(block) =>
                {
                    run.count += 1;
                }
                _ => runs.push(Run {
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
            blocks: (first * BLOCK_SIZE, whole),
            tail: end,
        })
    }
}

impl Content {
    /// Byte offset in the image of a position that is a multiple of the block size.
    fn offset(&self, position: u64) -> u64 {
        let (start, whole) = self.blocks;
        if position < whole * BLOCK_SIZE {
            start + position
        } else {
            self.tail + (position - whole * BLOCK_SIZE)
        }
    }
}

impl Node {
    fn new(id: InodeId, disk: &DiskInode) -> Self {
        let file_type = file_type(disk.mode.get());
        Self {
            id,
            file_type,
            stated_links: disk.nlink.get(),
            found_links: 0,
        }
    }
}

/// What the overlay-reserved attributes of a layer's node say.
#[derive(Default)]
struct Marks {
    opaque: bool,
    implied: bool,
    link: Option<Vec<u8>>,
}

/// Removes all overlay-reserved attributes and returns what ours among them mean.
fn take_marks(xattrs: &mut Xattrs) -> Marks {
    let mut marks = Marks::default();
    xattrs.retain_mut(|(name, value)| {
        match &name[..] {
            OPAQUE => marks.opaque = value == b"y",
            IMPLIED => marks.implied = value == b"y",
            LINK => marks.link = Some(std::mem::take(value)),
            _ => {}
        }
        !xattr::is_overlay_reserved(name)
    });
    marks
}
