//! For tests: what unpacking layers into a folder does, one entry after the other, as umoci's unpack does it.
//!
//! The folder is a map from paths to entries; a whiteout removes what the same layer has not touched. Nothing of the
//! writer's tree, the image or the merger is used here, so agreement means something.

use std::collections::HashSet;

use crate::flat::{Entry, Flat, What};
use crate::metadata::{Metadata, Timestamp};
use crate::{LayerWriter, WriteError};

#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub path: Vec<u8>,
    pub meta: Metadata,
    pub action: Action,
}

#[derive(Debug, Clone)]
pub(crate) enum Action {
    Make(What),
    Sparse { size: u64, extents: Vec<(u64, u64)> },
    Link(Vec<u8>),
    Whiteout,
    Opaque,
}

/// A folder into which layers are unpacked.
pub(crate) struct Folder {
    flat: Flat,
    /// What was there when the current layer began.
    lower: Flat,
    /// Paths that the current layer made, and all above them.
    touched: HashSet<Vec<u8>>,
    inodes: usize,
}

/// The bytes of a test file: different in every block.
pub(crate) fn pattern(offset: u64, length: u64) -> Vec<u8> {
    (offset..offset + length)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 7) as u8)
        .collect()
}

impl Folder {
    pub(crate) fn new() -> Self {
        let mut folder = Self {
            flat: Flat::new(),
            lower: Flat::new(),
            touched: HashSet::new(),
            inodes: 0,
        };
        folder.put(Vec::new(), implied(), What::Directory);
        folder
    }

    pub(crate) fn begin_layer(&mut self) {
        self.lower = self.flat.clone();
        self.touched.clear();
    }

    pub(crate) fn into_flat(mut self) -> Flat {
        crate::flat::name_groups(&mut self.flat);
        self.flat
    }

    /// Unpacks an entry. `false` if it makes no sense here and must not be given to the writer either.
    pub(crate) fn unpack(&mut self, op: &Op) -> bool {
        let path = &op.path;
        match &op.action {
            Action::Whiteout | Action::Opaque => {
                let keep_itself = matches!(op.action, Action::Opaque);
                if path.is_empty() && !keep_itself {
                    return false;
                }
                let touched = &self.touched;
                self.flat.retain(|other, _| {
                    !is_below(other, path) && (keep_itself || other != path)
                        || touched.contains(other)
                });
            }
            Action::Make(What::Directory) => {
                if !self.parents(path) {
                    return false;
                }
                match self.flat.get_mut(path) {
                    Some(entry) if entry.what == What::Directory => entry.meta = op.meta.clone(),
                    _ => self.put(path.clone(), op.meta.clone(), What::Directory),
                }
                self.touched.insert(path.clone());
            }
            action => {
                let entry = self.file_entry(op, action);
                let Some(entry) = entry.filter(|_| !path.is_empty() && self.parents(path)) else {
                    return false;
                };
                self.flat.retain(|other, _| !is_below(other, path));
                self.flat.insert(path.clone(), entry);
                self.touched.insert(path.clone());
            }
        }
        true
    }

    /// What is not a directory; `None` for a link to nothing.
    fn file_entry(&mut self, op: &Op, action: &Action) -> Option<Entry> {
        let what = match action {
            Action::Link(target) => return self.link_target(target).filter(|_| *target != op.path),
            Action::Sparse { size, extents } => {
                let mut bytes = vec![0; *size as usize];
                for &(offset, length) in extents {
                    bytes[offset as usize..][..length as usize]
                        .copy_from_slice(&pattern(offset, length));
                }
                What::File(bytes)
            }
            Action::Make(what) => what.clone(),
            Action::Whiteout | Action::Opaque => unreachable!("they make nothing"),
        };
        Some(self.entry(op.meta.clone(), what))
    }

    /// The file that a hard link means: this layer's, or the one that was there before it.
    fn link_target(&self, target: &[u8]) -> Option<Entry> {
        let flat = if self.touched.contains(target) {
            &self.flat
        } else {
            &self.lower
        };
        flat.get(target)
            .filter(|entry| entry.what != What::Directory)
            .cloned()
    }

    /// Makes the directories above a path; `false` if this layer has something else there.
    fn parents(&mut self, path: &[u8]) -> bool {
        let above: Vec<&[u8]> = path
            .iter()
            .enumerate()
            .filter(|(_, b)| **b == b'/')
            .map(|(at, _)| &path[..at])
            .collect();
        let is_file = |flat: &Flat, path: &[u8]| {
            flat.get(path)
                .is_some_and(|entry| entry.what != What::Directory)
        };
        if above
            .iter()
            .any(|parent| self.touched.contains(*parent) && is_file(&self.flat, parent))
        {
            return false;
        }
        for parent in above {
            if !self.flat.contains_key(parent) || is_file(&self.flat, parent) {
                self.put(parent.to_vec(), implied(), What::Directory);
            }
            self.touched.insert(parent.to_vec());
        }
        self.touched.insert(Vec::new());
        true
    }

    fn entry(&mut self, mut meta: Metadata, what: What) -> Entry {
        if matches!(what, What::Symlink(_)) {
            meta.mode = 0o777;
        }
        self.inodes += 1;
        Entry {
            meta,
            what,
            first_name: self.inodes.to_ne_bytes().to_vec(),
        }
    }

    fn put(&mut self, path: Vec<u8>, meta: Metadata, what: What) {
        let entry = self.entry(meta, what);
        self.flat.insert(path, entry);
    }
}

/// Gives an entry to the writer under test.
pub(crate) fn write(layer: &mut LayerWriter, op: &Op) -> Result<(), WriteError> {
    let (path, meta) = (&op.path[..], op.meta.clone());
    match &op.action {
        Action::Make(What::Directory) => layer.directory(path, meta),
        Action::Make(What::File(bytes)) => {
            layer.file(path, meta, bytes.len() as u64, &mut &bytes[..])
        }
        Action::Make(What::Symlink(target)) => layer.symlink(path, meta, target),
        Action::Make(What::Device(device, major, minor)) => {
            layer.device(path, meta, *device, *major, *minor)
        }
        Action::Make(What::Fifo) => layer.fifo(path, meta),
        Action::Make(What::Socket) => layer.socket(path, meta),
        Action::Make(What::Whiteout | What::DeferredLink(_)) => unreachable!("no entry of a tar"),
        Action::Sparse { size, extents } => {
            let data: Vec<u8> = extents
                .iter()
                .flat_map(|&(offset, length)| pattern(offset, length))
                .collect();
            layer.sparse_file(path, meta, *size, extents, &mut &data[..])
        }
        Action::Link(target) => layer.hard_link(path, target),
        Action::Whiteout => layer.whiteout(path),
        Action::Opaque => layer.opaque(path),
    }
}

fn implied() -> Metadata {
    Metadata {
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        xattrs: Vec::new(),
    }
}

fn is_below(path: &[u8], above: &[u8]) -> bool {
    above.is_empty() && !path.is_empty()
        || path
            .strip_prefix(above)
            .is_some_and(|rest| rest.starts_with(b"/"))
}

mod properties;
