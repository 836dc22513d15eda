//! Writes one layer: entries come in any order, file data goes to the image at once, the tree at the end.

mod names;
mod store;

use std::fs::File;
use std::io::Read;

use crate::data_area::{DataArea, blocks_for};
use crate::emit::{self, Target};
use crate::layout::MAX_BLOCKS;
use crate::metadata::{Device, Metadata};
use crate::path;
use crate::plan::Plan;
use crate::sparse;
use crate::tree::{Inode, Kind, Presence, Regular, Tree};
use crate::write_error::{WriteError, show};
use crate::xattr;

/// Blocks before the data: the superblock's.
const RESERVED_BLOCKS: u64 = 1;

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
            tree: Tree::new(Presence::Implied),
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
        let id = self.explicit(path)?;
        let inode = self.tree.get_mut(id);
        inode.meta = meta;
        if let Kind::Directory(directory) = &mut inode.kind {
            directory.presence = Presence::Explicit;
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
        // Linux knows no other mode for links.
        let meta = Metadata {
            mode: 0o777,
            ..self.accept(path, meta)?
        };
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
        match self
            .tree
            .find(existing)
            .map(|id| (id, &self.tree.get(id).kind))
        {
            Some((_, Kind::Directory(directory))) if directory.presence > Presence::Passage => {
                Err(WriteError::LinkToDirectory {
                    path: show(path),
                    target: show(existing),
                })
            }
            None | Some((_, Kind::Directory(_) | Kind::Whiteout)) => self.insert(
                path,
                Metadata::default(),
                Kind::DeferredLink(existing.into()),
            ),
            Some((id, _)) => self.name(path, id),
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
        let (parent, name) = path::split(path).ok_or_else(|| cannot_replace_root(path))?;
        let Some(parent) = self.passage(parent)? else {
            return Ok(());
        };
        let found = self.tree.child(parent, name);
        match found.map(|id| (id, &self.tree.get(id).kind)) {
            Some((id, Kind::Directory(directory))) if directory.presence > Presence::Passage => {
                self.hide_below(id);
            }
            // A directory that only hides parts is surpassed.
            None | Some((_, Kind::Directory(_))) => {
                let id = self.add(Inode {
                    meta: Metadata::default(),
                    kind: Kind::Whiteout,
                })?;
                self.children(parent).insert(name.into(), id);
            }
            // Anything else hides what is below already.
            Some(_) => {}
        }
        Ok(())
    }

    /// Hides everything that lower layers have in this directory.
    ///
    /// # Errors
    /// As for every entry.
    pub fn opaque(&mut self, path: &[u8]) -> Result<(), WriteError> {
        path::check(path)?;
        if let Some(id) = self.passage(path)? {
            self.hide_below(id);
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
}

fn cannot_replace_root(path: &[u8]) -> WriteError {
    WriteError::Path {
        path: show(path),
        reason: "is the root, which can only be a directory",
    }
}

#[cfg(test)]
mod tests;
