//! Puts one layer on top of the layers below it.
//!
//! Two walks over the layer: the first removes what it hides, the second adds what it has. So a whiteout or an opaque
//! directory never reaches what its own layer adds, wherever the layer's tar had it.
//!
//! A directory that the layer names itself replaces whatever is below unless that is a directory too. One that is only
//! on the way to something is looked up as a path would be: where a lower layer has a symbolic link to a directory
//! (`lib -> usr/lib`), the layer's `lib/x` is `usr/lib/x`.

use std::collections::{BTreeMap, HashMap};

use crate::tree::{Directory, Inode, InodeId, Kind, Presence, Tree};

/// What an apply can fail with.
pub(super) enum Fault {
    /// A deferred hard link to this path finds no file.
    LinkTarget(Vec<u8>),
    /// The merged tree is full.
    TooManyInodes,
}

pub(super) fn apply(merged: &mut Tree, layer: &Tree) -> Result<(), Fault> {
    let known = deferred_links(merged, layer)?;
    let mut apply = Apply {
        merged,
        layer,
        known,
    };
    apply.hide();
    apply.add()
}

/// What the deferred links of a layer mean, by the state below the layer.
fn deferred_links(merged: &Tree, layer: &Tree) -> Result<HashMap<InodeId, InodeId>, Fault> {
    let mut links = HashMap::new();
    for (id, inode) in layer.iter() {
        if let Kind::DeferredLink(target) = &inode.kind {
            let found = merged
                .find_through_links(target)
                .filter(|&found| merged.directory(found).is_none());
            links.insert(id, found.ok_or_else(|| Fault::LinkTarget(target.to_vec()))?);
        }
    }
    Ok(links)
}

struct Apply<'a> {
    merged: &'a mut Tree,
    layer: &'a Tree,
    /// Merged inodes of the layer's files, so that hard links stay links.
    known: HashMap<InodeId, InodeId>,
}

impl<'a> Apply<'a> {
    fn hide(&mut self) {
        let mut pending = vec![(Tree::ROOT, Tree::ROOT)];
        while let Some((below, above)) = pending.pop() {
            let directory = self.layer_directory(above);
            if directory.opaque {
                self.clear(below, directory);
            }
            for (name, &child) in &directory.children {
                match &self.layer.get(child).kind {
                    Kind::Whiteout => drop(self.children(below).remove(name)),
                    Kind::Directory(above) => {
                        pending.extend(
                            self.counterpart(below, name, above)
                                .map(|below| (below, child)),
                        );
                    }
                    _ => {}
                }
            }
        }
    }

    /// Removes what a directory has below, but for the directories whose metadata the layer's implied ones keep.
    fn clear(&mut self, below: InodeId, directory: &Directory) {
        let (merged, layer) = (&*self.merged, self.layer);
        let is_implied = |name: &[u8]| {
            let above = directory
                .children
                .get(name)
                .and_then(|&child| layer.directory(child));
            above.is_some_and(|above| above.presence == Presence::Implied)
        };
        let existing = &merged
            .directory(below)
            .expect("only directories are pending")
            .children;
        let kept = existing
            .iter()
            .filter(|&(name, &id)| is_implied(name) && merged.directory(id).is_some())
            .map(|(name, &id)| (name.clone(), id))
            .collect();
        *self.children(below) = kept;
    }

    fn add(&mut self) -> Result<(), Fault> {
        let mut pending = vec![(Tree::ROOT, Tree::ROOT)];
        while let Some((below, above)) = pending.pop() {
            let directory = self.layer_directory(above);
            if directory.presence == Presence::Explicit {
                self.merged.get_mut(below).meta = self.layer.get(above).meta.clone();
            }
            for (name, &child) in &directory.children {
                let added = match &self.layer.get(child).kind {
                    Kind::Whiteout => continue,
                    Kind::Directory(above) if above.presence == Presence::Passage => continue,
                    Kind::Directory(above) => {
                        let found = self.counterpart(below, name, above);
                        let target = found.map_or_else(|| self.new_directory(below, child), Ok)?;
                        pending.push((target, child));
                        if found.is_some() {
                            continue;
                        }
                        target
                    }
                    _ => self.file(child)?,
                };
                self.children(below).insert(name.clone(), added);
            }
        }
        Ok(())
    }

    /// The directory below that the layer's directory `above` is, if there is one.
    fn counterpart(&self, below: InodeId, name: &[u8], above: &Directory) -> Option<InodeId> {
        let found = self.merged.child(below, name)?;
        match &self.merged.get(found).kind {
            Kind::Directory(_) => Some(found),
            Kind::Symlink(target) if above.presence != Presence::Explicit => {
                self.merged.follow_to_directory(below, target)
            }
            _ => None,
        }
    }

    fn new_directory(&mut self, parent: InodeId, id: InodeId) -> Result<InodeId, Fault> {
        let directory = Directory::new(parent, Presence::Explicit);
        let meta = self.layer.get(id).meta.clone();
        self.insert(Inode {
            meta,
            kind: Kind::Directory(directory),
        })
    }

    /// The merged inode of a layer's file.
    fn file(&mut self, id: InodeId) -> Result<InodeId, Fault> {
        if let Some(&known) = self.known.get(&id) {
            return Ok(known);
        }
        let inserted = self.insert(self.layer.get(id).clone())?;
        self.known.insert(id, inserted);
        Ok(inserted)
    }

    fn insert(&mut self, inode: Inode) -> Result<InodeId, Fault> {
        self.merged.add(inode).ok_or(Fault::TooManyInodes)
    }

    fn layer_directory(&self, id: InodeId) -> &'a Directory {
        self.layer
            .directory(id)
            .expect("only directories are pending")
    }

    fn children(&mut self, id: InodeId) -> &mut BTreeMap<Box<[u8]>, InodeId> {
        &mut self
            .merged
            .directory_mut(id)
            .expect("only directories are pending")
            .children
    }
}
