//! From an image to a [`Tree`]: directories breadth first, each node once.

use std::collections::{HashMap, VecDeque};

use super::node::{Content, Node, Nodes};
use super::{ReadError, Windows};
use crate::directory::{Entry, decode_block};
use crate::layout::{BLOCK_SIZE, Superblock};
use crate::path::name_fault;
use crate::tree::{InodeId, Kind, MAX_INODES, Presence, Tree};

pub(super) fn load(
    bytes: &mut Windows,
    superblock: &Superblock,
    data_blocks: u32,
    piece: u16,
) -> Result<Tree, ReadError> {
    let nodes = Nodes::new(bytes, superblock, data_blocks, piece);
    let loader = Loader {
        nodes,
        tree: Tree::new(Presence::Explicit),
        seen: HashMap::new(),
        queue: VecDeque::new(),
        names: 0,
    };
    loader.run(u64::from(superblock.root_nid.get()))
}

struct Loader<'a> {
    nodes: Nodes<'a>,
    tree: Tree,
    seen: HashMap<u64, Seen>,
    queue: VecDeque<Pending>,
    /// Names so far; one node may have many.
    names: usize,
}

/// A node that is in the tree.
struct Seen {
    id: InodeId,
    file_type: u8,
    stated_links: u32,
    found_links: u32,
}

/// A directory that is yet to be listed.
#[derive(Clone, Copy)]
struct Pending {
    nid: u64,
    parent: u64,
    id: InodeId,
    content: Content,
}

impl Loader<'_> {
    fn run(mut self, root: u64) -> Result<Tree, ReadError> {
        let node = self.nodes.read(root)?;
        if !matches!(node.inode.kind, Kind::Directory(_)) {
            return Err(ReadError::Node {
                nid: root,
                reason: "is the root but no directory",
            });
        }
        self.queue.push_back(Pending {
            nid: root,
            parent: root,
            id: Tree::ROOT,
            content: node.content,
        });
        self.seen.insert(root, Seen::new(Tree::ROOT, &node));
        *self.tree.get_mut(Tree::ROOT) = node.inode;
        while let Some(directory) = self.queue.pop_front() {
            self.list(directory)?;
        }
        let differing = self
            .seen
            .iter()
            .find(|(_, node)| node.stated_links != node.found_links);
        match differing {
            None => Ok(self.tree),
            Some((&nid, node)) => Err(ReadError::LinkCount {
                nid,
                stated: node.stated_links,
                found: node.found_links,
            }),
        }
    }

    /// Reads the entries of a directory, and the nodes behind them.
    fn list(&mut self, directory: Pending) -> Result<(), ReadError> {
        let fault = |reason| ReadError::Node {
            nid: directory.nid,
            reason,
        };
        let content = directory.content;
        let mut last = Vec::new();
        let mut dots = 0;
        for position in (0..content.size).step_by(BLOCK_SIZE as usize) {
            let length = BLOCK_SIZE.min(content.size - position);
            let block = self.nodes.take(content.offset(position), length)?;
            for entry in decode_block(&block).map_err(fault)? {
                if last.as_slice() >= entry.name {
                    return Err(fault("has names out of order"));
                }
                entry.name.clone_into(&mut last);
                match entry.name {
                    b"." | b".." => {
                        let expected = if entry.name == b"." {
                            directory.nid
                        } else {
                            directory.parent
                        };
                        if entry.nid != expected {
                            return Err(fault("has a '.' or '..' that leads elsewhere"));
                        }
                        self.link(expected);
                        dots += 1;
                    }
                    name if name_fault(name).is_some() => {
                        return Err(fault("has an impossible name"));
                    }
                    _ => self.child(directory, &entry)?,
                }
            }
        }
        if dots == 2 {
            Ok(())
        } else {
            Err(fault("is a directory without '.' or '..'"))
        }
    }

    fn link(&mut self, nid: u64) {
        if let Some(node) = self.seen.get_mut(&nid) {
            node.found_links += 1;
        }
    }

    fn child(&mut self, directory: Pending, entry: &Entry<'_>) -> Result<(), ReadError> {
        let nid = entry.nid;
        let fault = |reason| Err(ReadError::Node { nid, reason });
        self.names += 1;
        if self.names > MAX_INODES {
            return Err(ReadError::TooManyNames { limit: MAX_INODES });
        }
        if !self.seen.contains_key(&nid) {
            self.enter(directory, nid)?;
        } else if self.tree.directory(self.seen[&nid].id).is_some() {
            return fault("is a directory with two names");
        }
        let node = &self.seen[&nid];
        if node.file_type != entry.file_type {
            return fault("is of another type than its name says");
        }
        let id = node.id;
        self.link(nid);
        let parent = self
            .tree
            .directory_mut(directory.id)
            .expect("only directories are pending");
        parent.children.insert(entry.name.into(), id);
        Ok(())
    }

    /// Reads a node that is met for the first time.
    fn enter(&mut self, parent: Pending, nid: u64) -> Result<(), ReadError> {
        let mut node = self.nodes.read(nid)?;
        let content = node.content;
        let is_directory = match &mut node.inode.kind {
            Kind::Directory(directory) => {
                directory.parent = parent.id;
                true
            }
            _ => false,
        };
        let (links, file_type) = (node.links, node.file_type);
        let id = self
            .tree
            .add(node.inode)
            .ok_or(ReadError::TooManyNames { limit: MAX_INODES })?;
        self.seen.insert(
            nid,
            Seen {
                id,
                file_type,
                stated_links: links,
                found_links: 0,
            },
        );
        if is_directory {
            self.queue.push_back(Pending {
                nid,
                parent: parent.nid,
                id,
                content,
            });
        }
        Ok(())
    }
}

impl Seen {
    fn new(id: InodeId, node: &Node) -> Self {
        Self {
            id,
            file_type: node.file_type,
            stated_links: node.links,
            found_links: 0,
        }
    }
}
