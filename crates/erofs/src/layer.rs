//! Writes one layer: entries come in any order, file data goes to the image at once, the tree at the end.

use std::fs::File;
use std::io::Read;

use crate::data_area::{DataArea, blocks_for};
use crate::emit::{self, Target};
use crate::layout::{BLOCK_SIZE, MAX_BLOCKS};
use crate::metadata::{Device, Metadata};
use crate::path;
use crate::plan::Plan;
use crate::sparse;
use crate::tree::{Blocks, Directory, Inode, InodeId, Kind, MAX_INODES, Regular, Run, Tree};
use crate::write_error::{WriteError, show};
use crate::xattr;

/// Blocks before the data: the superblock's.
const RESERVED_BLOCKS: u64 = 1;
/// Chunks of all files with holes together: 64 MiB of indexes, which a hostile stream could otherwise multiply.
const MAX_LAYER_CHUNKS: u64 = 1 << 24;

/// Writes the image of one layer.
///
/// Paths are relative and separated by '/', without '.', '..' or empty names; the empty path is the root. Directories
/// that are only named as part of a path are *implied*: `0755 root:root` unless a lower layer has the directory, whose
/// metadata then stays. A later entry replaces an earlier one of the same path, except that a directory keeps what is
/// in it, and that a whiteout only ever hides lower layers, wherever it stands in the stream.
pub struct LayerWriter {
    tree: Tree,
    data: DataArea,
    chunks: u64,
    data_bytes: u64,
    dropped_xattrs: u64,
}

/// What a finished layer consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerSummary {
    /// Length of the image in blocks of 4 KiB, a multiple of 512.
    pub blocks: u32,
    /// Inodes, implied directories and whiteouts included.
    pub inodes: u64,
    /// Bytes of file data that were given, holes not counted.
    pub data_bytes: u64,
    /// Extended attributes that were not kept: reserved by overlayfs, or in a name space that Linux does not have.
    pub dropped_xattrs: u64,
}

impl LayerWriter {
    /// Starts a layer in an empty, seekable file. The caller syncs the file when it matters.
    ///
    /// # Errors
    /// [`WriteError::NotEmpty`] and [`WriteError::Io`].
    pub fn new(out: File) -> Result<Self, WriteError> {
        let data = DataArea::new(out, RESERVED_BLOCKS)?;
        Ok(Self {
            tree: Tree::new(),
            data,
            chunks: 0,
            data_bytes: 0,
            dropped_xattrs: 0,
        })
    }

    /// Adds a directory, or gives an existing one this metadata.
    ///
    /// # Errors
    /// The path's, metadata's and attributes' variants of [`WriteError`], as for every entry.
    pub fn directory(&mut self, path: &[u8], meta: Metadata) -> Result<(), WriteError> {
        let meta = self.accept(path, meta)?;
        let id = self.make_directory(path)?;
        let inode = self.tree.get_mut(id);
        inode.meta = meta;
        if let Kind::Directory(directory) = &mut inode.kind {
            directory.implied = false;
        }
        Ok(())
    }

    /// Adds a regular file of `size` bytes, which are read from `data`.
    ///
    /// # Errors
    /// Also [`WriteError::ShortData`], [`WriteError::Input`], [`WriteError::TooLarge`], [`WriteError::Io`].
    pub fn file(
        &mut self,
        path: &[u8],
        meta: Metadata,
        size: u64,
        data: &mut dyn Read,
    ) -> Result<(), WriteError> {
        let meta = self.accept(path, meta)?;
        let blocks = self.store(path, size, &[(0, size)], data)?;
        self.insert(
            path,
            meta,
            Kind::Regular(Regular {
                size,
                piece: 0,
                blocks,
            }),
        )
    }

    /// Adds a regular file that has data only in `extents` (byte offset and length, ascending, not overlapping). `data`
    /// yields their bytes one after the other.
    ///
    /// # Errors
    /// Also [`WriteError::Extent`] and those of [`LayerWriter::file`].
    pub fn sparse_file(
        &mut self,
        path: &[u8],
        meta: Metadata,
        size: u64,
        extents: &[(u64, u64)],
        data: &mut dyn Read,
    ) -> Result<(), WriteError> {
        let meta = self.accept(path, meta)?;
        sparse::check(path, size, extents)?;
        if blocks_for(size) >= MAX_BLOCKS {
            return Err(WriteError::TooLarge { limit: MAX_BLOCKS });
        }
        let cut = sparse::cut(size, extents);
        // Where holes are an eighth or less, one plain run is better: it needs no indexes, and the image file itself
        // has holes there.
        let blocks = if cut.stored_blocks >= blocks_for(size) - blocks_for(size) / 8 {
            self.store(path, size, extents, data)?
        } else {
            self.store_chunks(path, size, extents, &cut, data)?
        };
        self.insert(
            path,
            meta,
            Kind::Regular(Regular {
                size,
                piece: 0,
                blocks,
            }),
        )
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// Also [`WriteError::LinkTarget`].
    pub fn symlink(
        &mut self,
        path: &[u8],
        meta: Metadata,
        target: &[u8],
    ) -> Result<(), WriteError> {
        if target.is_empty() || target.len() > path::MAX_PATH || target.contains(&0) {
            return Err(WriteError::LinkTarget {
                path: show(path),
                length: target.len(),
            });
        }
        let meta = self.accept(path, meta)?;
        self.insert(path, meta, Kind::Symlink(target.into()))
    }

    /// Adds a second name for the file at `existing`. When this layer has no such file, the link is left to merging,
    /// which looks for it in the layers below.
    ///
    /// # Errors
    /// Also [`WriteError::LinkToDirectory`].
    pub fn hard_link(&mut self, path: &[u8], existing: &[u8]) -> Result<(), WriteError> {
        path::check(path)?;
        path::check(existing)?;
        match self.tree.find(existing) {
            Some(id) if self.tree.directory(id).is_some() => Err(WriteError::LinkToDirectory {
                path: show(path),
                target: show(existing),
            }),
            Some(id) if !matches!(self.tree.get(id).kind, Kind::Whiteout) => self.name(path, id),
            _ => self.insert(
                path,
                Metadata::default(),
                Kind::DeferredLink(existing.into()),
            ),
        }
    }

    /// Adds a device node. A character device 0:0 cannot be one: overlayfs takes it for a whiteout, and so does this.
    ///
    /// # Errors
    /// Also [`WriteError::DeviceNumber`].
    pub fn device(
        &mut self,
        path: &[u8],
        meta: Metadata,
        device: Device,
        major: u32,
        minor: u32,
    ) -> Result<(), WriteError> {
        if major >= 1 << 12 || minor >= 1 << 20 {
            return Err(WriteError::DeviceNumber {
                path: show(path),
                major,
                minor,
            });
        }
        if (device, major, minor) == (Device::Character, 0, 0) {
            return self.whiteout(path);
        }
        let meta = self.accept(path, meta)?;
        self.insert(
            path,
            meta,
            Kind::Device {
                device,
                major,
                minor,
            },
        )
    }

    /// Adds a named pipe.
    ///
    /// # Errors
    /// As for every entry.
    pub fn fifo(&mut self, path: &[u8], meta: Metadata) -> Result<(), WriteError> {
        let meta = self.accept(path, meta)?;
        self.insert(path, meta, Kind::Fifo)
    }

    /// Adds a socket.
    ///
    /// # Errors
    /// As for every entry.
    pub fn socket(&mut self, path: &[u8], meta: Metadata) -> Result<(), WriteError> {
        let meta = self.accept(path, meta)?;
        self.insert(path, meta, Kind::Socket)
    }

    /// Hides what lower layers have at this path. What this layer has there stays, whichever came first.
    ///
    /// # Errors
    /// As for every entry; the root cannot be whited out.
    pub fn whiteout(&mut self, path: &[u8]) -> Result<(), WriteError> {
        path::check(path)?;
        match self.tree.find(path) {
            None => self.insert(path, Metadata::default(), Kind::Whiteout),
            Some(Tree::ROOT) => Err(cannot_replace_root(path)),
            Some(id) => {
                // Any other kind hides what is below already.
                if let Some(directory) = self.tree.directory_mut(id) {
                    directory.opaque = true;
                }
                Ok(())
            }
        }
    }

    /// Hides everything that lower layers have in this directory.
    ///
    /// # Errors
    /// As for every entry.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), WriteError> {
        path::check(path)?;
        let id = self.walk_directories(path, path)?;
        if let Some(directory) = self.tree.directory_mut(id) {
            directory.opaque = true;
        }
        Ok(())
    }

    /// Writes the tree and the superblock and pads the image to 2 MiB.
    ///
    /// # Errors
    /// [`WriteError::TooLarge`] and [`WriteError::Io`].
    pub fn finish(self) -> Result<LayerSummary, WriteError> {
        let plan = Plan::new(&self.tree)?;
        let (file, meta_block) = self.data.finish()?;
        let target = Target {
            file: &file,
            meta_block,
            piece_bases: &[0],
            devices: &[],
        };
        let blocks = emit::emit(&self.tree, &plan, &target)?;
        Ok(LayerSummary {
            blocks,
            inodes: plan.places.len() as u64,
            data_bytes: self.data_bytes,
            dropped_xattrs: self.dropped_xattrs,
        })
    }

    fn accept(&mut self, path: &[u8], mut meta: Metadata) -> Result<Metadata, WriteError> {
        path::check(path)?;
        if meta.mtime.nanoseconds >= 1_000_000_000 {
            return Err(WriteError::Nanoseconds {
                path: show(path),
                nanoseconds: meta.mtime.nanoseconds,
            });
        }
        let dropped;
        (meta.xattrs, dropped) = xattr::accept(path, meta.xattrs)?;
        meta.mode &= 0o7777;
        self.dropped_xattrs += dropped;
        Ok(meta)
    }

    /// Stores a file as one run of blocks.
    fn store(
        &mut self,
        path: &[u8],
        size: u64,
        extents: &[(u64, u64)],
        data: &mut dyn Read,
    ) -> Result<Blocks, WriteError> {
        if size == 0 {
            return Ok(Blocks::Plain(0));
        }
        let first = self.data.allocate(blocks_for(size))?;
        for &(offset, length) in extents {
            self.data
                .copy(path, u64::from(first) * BLOCK_SIZE + offset, length, data)?;
            self.data_bytes += length;
        }
        Ok(Blocks::Plain(first))
    }

    /// Stores the chunks of a file that hold data, all in one run of blocks.
    fn store_chunks(
        &mut self,
        path: &[u8],
        size: u64,
        extents: &[(u64, u64)],
        cut: &sparse::Cut,
        data: &mut dyn Read,
    ) -> Result<Blocks, WriteError> {
        self.chunks += sparse::chunk_count(size, cut.chunk_bits);
        if self.chunks > MAX_LAYER_CHUNKS {
            return Err(WriteError::TooMany {
                what: "chunks of files with holes",
                limit: MAX_LAYER_CHUNKS,
            });
        }
        let mut next = if cut.stored_blocks == 0 {
            0
        } else {
            u64::from(self.data.allocate(cut.stored_blocks)?)
        };
        let mut runs = Vec::with_capacity(cut.runs.len());
        let mut pending = extents.iter().filter(|(_, length)| *length > 0).peekable();
        for &(first, end) in &cut.runs {
            let start = (first << cut.chunk_bits) * BLOCK_SIZE;
            let stop = (end << cut.chunk_bits) * BLOCK_SIZE;
            runs.push(Run {
                first: first as u32,
                count: (end - first) as u32,
                block: next as u32,
            });
            while let Some(&(offset, length)) = pending.next_if(|(offset, _)| *offset < stop) {
                self.data
                    .copy(path, next * BLOCK_SIZE + (offset - start), length, data)?;
                self.data_bytes += length;
            }
            next += (end - first) << cut.chunk_bits;
        }
        Ok(Blocks::Chunks {
            chunk_bits: cut.chunk_bits,
            runs: runs.into(),
        })
    }

    /// Names a new inode that is no directory.
    fn insert(&mut self, path: &[u8], meta: Metadata, kind: Kind) -> Result<(), WriteError> {
        let id = self.add(Inode { meta, kind })?;
        self.name(path, id)
    }

    fn add(&mut self, inode: Inode) -> Result<InodeId, WriteError> {
        self.tree.add(inode).ok_or(WriteError::TooMany {
            what: "inodes",
            limit: MAX_INODES as u64,
        })
    }

    /// Gives an inode a name, which may have named another one before.
    fn name(&mut self, path: &[u8], id: InodeId) -> Result<(), WriteError> {
        let (parent, name) = path::split(path).ok_or_else(|| cannot_replace_root(path))?;
        let parent = self.walk_directories(parent, path)?;
        let directory = self
            .tree
            .directory_mut(parent)
            .expect("walk_directories() returns directories");
        directory.children.insert(name.into(), id);
        Ok(())
    }

    /// The directory at a path, made if it is missing, replacing what is no directory.
    fn make_directory(&mut self, path: &[u8]) -> Result<InodeId, WriteError> {
        let Some((parent, name)) = path::split(path) else {
            return Ok(Tree::ROOT);
        };
        let parent = self.walk_directories(parent, path)?;
        match self.tree.child(parent, name) {
            Some(id) if self.tree.directory(id).is_some() => Ok(id),
            existing => self.new_directory(parent, name, existing.is_some()),
        }
    }

    /// The directory at a path; missing ones on the way are implied. `entry` is what needs it.
    fn walk_directories(&mut self, path: &[u8], entry: &[u8]) -> Result<InodeId, WriteError> {
        let mut current = Tree::ROOT;
        let mut walked = 0;
        for name in path::names(path) {
            walked += name.len() + 1;
            current = match self
                .tree
                .child(current, name)
                .map(|id| (id, &self.tree.get(id).kind))
            {
                Some((id, Kind::Directory(_))) => id,
                None => self.new_directory(current, name, false)?,
                Some((_, Kind::Whiteout)) => self.new_directory(current, name, true)?,
                Some(_) => {
                    let parent = show(&path[..walked - 1]);
                    return Err(WriteError::NotADirectory {
                        path: show(entry),
                        parent,
                    });
                }
            };
        }
        Ok(current)
    }

    /// A directory where this layer had something else before hides what lower layers have: that other entry did.
    fn new_directory(
        &mut self,
        parent: InodeId,
        name: &[u8],
        replaces: bool,
    ) -> Result<InodeId, WriteError> {
        let directory = Directory {
            opaque: replaces,
            implied: !replaces,
            ..Directory::default()
        };
        let id = self.add(Inode {
            meta: Metadata::implied_directory(),
            kind: Kind::Directory(directory),
        })?;
        let parent = self
            .tree
            .directory_mut(parent)
            .expect("callers pass directories");
        parent.children.insert(name.into(), id);
        Ok(id)
    }
}

fn cannot_replace_root(path: &[u8]) -> WriteError {
    WriteError::Path {
        path: show(path),
        reason: "is the root, which can only be a directory",
    }
}
