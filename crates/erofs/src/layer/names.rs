//! How names get into a layer's tree, and which directories come to be on the way.

use std::collections::BTreeMap;

use super::{LayerWriter, cannot_replace_root};
use crate::metadata::Metadata;
use crate::path;
use crate::tree::{Directory, Inode, InodeId, Kind, MAX_INODES, Presence, Tree};
use crate::write_error::{WriteError, show};

impl LayerWriter {
    /// Names a new inode that is no directory.
    pub(super) fn insert(
        &mut self,
        path: &[u8],
        meta: Metadata,
        kind: Kind,
    ) -> Result<(), WriteError> {
        let id = self.add(Inode { meta, kind })?;
        self.name(path, id)
    }

    pub(super) fn add(&mut self, inode: Inode) -> Result<InodeId, WriteError> {
        self.tree.add(inode).ok_or(WriteError::TooMany {
            what: "inodes",
            limit: MAX_INODES as u64,
        })
    }

    /// Gives an inode a name, which may have named another one before.
    pub(super) fn name(&mut self, path: &[u8], id: InodeId) -> Result<(), WriteError> {
        let (parent, name) = path::split(path).ok_or_else(|| cannot_replace_root(path))?;
        let parent = self.implied(parent, path)?;
        self.children(parent).insert(name.into(), id);
        Ok(())
    }

    /// The directory at a path, made if it is missing, replacing what is no directory.
    pub(super) fn explicit(&mut self, path: &[u8]) -> Result<InodeId, WriteError> {
        let Some((parent, name)) = path::split(path) else {
            return Ok(Tree::ROOT);
        };
        let parent = self.implied(parent, path)?;
        match self.tree.child(parent, name) {
            Some(id) if self.tree.directory(id).is_some() => Ok(id),
            None => self.new_directory(parent, name, Presence::Explicit),
            Some(_) => self.new_opaque(parent, name),
        }
    }

    /// The directory at a path, for `entry` below it. Missing ones on the way are implied; where this layer hides what
    /// is below already, no lower layer's metadata can stay.
    fn implied(&mut self, path: &[u8], entry: &[u8]) -> Result<InodeId, WriteError> {
        let mut current = Tree::ROOT;
        let mut presence = Presence::Implied;
        for name in path::names(path) {
            if self.is_opaque(current) {
                presence = Presence::Explicit;
            }
            let found = self.tree.child(current, name);
            current = match found.map(|id| (id, &mut self.tree.get_mut(id).kind)) {
                Some((id, Kind::Directory(directory))) => {
                    directory.presence = directory.presence.max(Presence::Implied);
                    id
                }
                None => self.new_directory(current, name, presence)?,
                Some((_, Kind::Whiteout)) => self.new_opaque(current, name)?,
                Some(_) => {
                    return Err(WriteError::NotADirectory {
                        path: show(entry),
                        name: show(name),
                    });
                }
            };
        }
        Ok(current)
    }

    /// The directory at a path, to hide something in it; `None` when this layer hides all of it already.
    pub(super) fn passage(&mut self, path: &[u8]) -> Result<Option<InodeId>, WriteError> {
        let mut current = Tree::ROOT;
        for name in path::names(path) {
            current = match self.tree.child(current, name) {
                _ if self.is_opaque(current) => return Ok(None),
                None => self.new_directory(current, name, Presence::Passage)?,
                Some(id) if self.tree.directory(id).is_some() => id,
                Some(_) => return Ok(None),
            };
        }
        Ok(Some(current).filter(|&id| !self.is_opaque(id)))
    }

    /// Hides what lower layers have in a directory. Directories that this layer has there keep the lower layers'
    /// metadata if they are implied, because they came first; so they are hidden one by one.
    pub(super) fn hide_below(&mut self, id: InodeId) {
        let mut pending = vec![id];
        while let Some(id) = pending.pop() {
            if self.is_opaque(id) {
                continue;
            }
            let tree = &self.tree;
            let presence = |id: InodeId| tree.directory(id).map(|directory| directory.presence);
            let directory = tree.directory(id).expect("only directories are pending");
            let (surpassed, inside): (Vec<_>, Vec<_>) = directory
                .children
                .iter()
                .filter_map(|(name, &child)| Some((name.clone(), child, presence(child)?)))
                .partition(|(_, _, presence)| *presence == Presence::Passage);
            pending.extend(inside.iter().map(|(_, child, _)| *child));
            let directory = self
                .tree
                .directory_mut(id)
                .expect("only directories are pending");
            directory.opaque = true;
            for (name, _, _) in surpassed {
                directory.children.remove(&name);
            }
        }
    }

    fn is_opaque(&self, id: InodeId) -> bool {
        self.tree
            .directory(id)
            .is_some_and(|directory| directory.opaque)
    }

    /// A directory where this layer had something else before: that hid what lower layers have, so this does.
    fn new_opaque(&mut self, parent: InodeId, name: &[u8]) -> Result<InodeId, WriteError> {
        let id = self.new_directory(parent, name, Presence::Explicit)?;
        if let Kind::Directory(directory) = &mut self.tree.get_mut(id).kind {
            directory.opaque = true;
        }
        Ok(id)
    }

    fn new_directory(
        &mut self,
        parent: InodeId,
        name: &[u8],
        presence: Presence,
    ) -> Result<InodeId, WriteError> {
        let directory = Directory::new(parent, presence);
        let id = self.add(Inode {
            meta: Metadata::implied_directory(),
            kind: Kind::Directory(directory),
        })?;
        self.children(parent).insert(name.into(), id);
        Ok(id)
    }

    pub(super) fn children(&mut self, id: InodeId) -> &mut BTreeMap<Box<[u8]>, InodeId> {
        &mut self
            .tree
            .directory_mut(id)
            .expect("callers pass directories")
            .children
    }
}
