//! The tree of an image in memory: inodes in an arena, directories that name them.
//!
//! A hard link is a second name of the same inode, so nothing here counts links; [`crate::plan`] does, at the end.

mod resolve;

use std::collections::BTreeMap;

use crate::metadata::{Device, Metadata};

/// Index of an inode in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct InodeId(u32);

/// More inodes than any image in use has; bounds the memory that a stream of empty entries can take.
pub(crate) const MAX_INODES: usize = 1 << 24;

#[derive(Debug, Clone)]
pub(crate) struct Inode {
    pub meta: Metadata,
    pub kind: Kind,
}

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Directory(Directory),
    Regular(Regular),
    Symlink(Box<[u8]>),
    Device {
        device: Device,
        major: u32,
        minor: u32,
    },
    Fifo,
    Socket,
    /// Hides the same name in lower layers.
    Whiteout,
    /// A hard link to a path that only a lower layer has; resolved by merging.
    DeferredLink(Box<[u8]>),
}

#[derive(Debug, Clone)]
pub(crate) struct Directory {
    /// The directory that holds it; the root holds itself.
    pub parent: InodeId,
    pub children: BTreeMap<Box<[u8]>, InodeId>,
    /// Hides everything that lower layers have in this directory.
    pub opaque: bool,
    pub presence: Presence,
}

/// Why a layer has a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    /// For what it hides only: where no lower layer has it, merging does not make it.
    Passage,
    /// Because something is below it: where a lower layer has it, that one's metadata stays.
    Implied,
    /// Because the layer names it.
    Explicit,
}

/// A regular file's data: where it lies in piece number `piece`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Regular {
    pub size: u64,
    pub piece: u16,
    pub blocks: Blocks,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocks {
    /// One run of blocks from here.
    Plain(u32),
    /// Chunks of `1 << chunk_bits` blocks; what no run covers is a hole.
    Chunks { chunk_bits: u8, runs: Box<[Run]> },
}

/// `count` chunks from chunk `first` on, whose data lie one after the other from `block` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub first: u32,
    pub count: u32,
    pub block: u32,
}

#[derive(Debug, Clone)]
pub(crate) struct Tree {
    inodes: Vec<Inode>,
}

impl Tree {
    pub(crate) const ROOT: InodeId = InodeId(0);

    /// A tree of a root and nothing else.
    pub(crate) fn new(root: Presence) -> Self {
        let root = Directory::new(Self::ROOT, root);
        let root = Inode {
            meta: Metadata::implied_directory(),
            kind: Kind::Directory(root),
        };
        Self { inodes: vec![root] }
    }

    /// Adds an inode that no directory names yet; `None` when there are [`MAX_INODES`].
    pub(crate) fn add(&mut self, inode: Inode) -> Option<InodeId> {
        let id = u32::try_from(self.inodes.len())
            .ok()
            .filter(|_| self.inodes.len() < MAX_INODES)?;
        self.inodes.push(inode);
        Some(InodeId(id))
    }

    /// Inodes in the arena, named or not.
    pub(crate) fn len(&self) -> usize {
        self.inodes.len()
    }

    pub(crate) fn get(&self, id: InodeId) -> &Inode {
        &self.inodes[id.index()]
    }

    pub(crate) fn get_mut(&mut self, id: InodeId) -> &mut Inode {
        &mut self.inodes[id.index()]
    }

    pub(crate) fn directory(&self, id: InodeId) -> Option<&Directory> {
        match &self.get(id).kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    pub(crate) fn directory_mut(&mut self, id: InodeId) -> Option<&mut Directory> {
        match &mut self.get_mut(id).kind {
            Kind::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    /// All inodes in the arena, named or not.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (InodeId, &Inode)> {
        self.inodes
            .iter()
            .enumerate()
            .map(|(index, inode)| (InodeId(index as u32), inode))
    }

    /// The inode that a directory has under a name.
    pub(crate) fn child(&self, directory: InodeId, name: &[u8]) -> Option<InodeId> {
        self.directory(directory)?.children.get(name).copied()
    }
}

impl Directory {
    /// An empty directory.
    pub(crate) fn new(parent: InodeId, presence: Presence) -> Self {
        Self {
            parent,
            children: BTreeMap::new(),
            opaque: false,
            presence,
        }
    }
}

impl Run {
    /// Whether chunk number `first` at `block` is the next of this run.
    pub(crate) fn is_followed_by(&self, first: u64, block: u32, chunk_bits: u8) -> bool {
        let next = u64::from(self.block) + (u64::from(self.count) << chunk_bits);
        u64::from(self.first + self.count) == first && next == u64::from(block)
    }
}

impl InodeId {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}
