//! Finds what a path names in a tree, as a process whose root is the tree's root would.

use super::{InodeId, Kind, Tree};
use crate::path;

/// Symbolic links that one path may lead through; Linux gives up after as many.
const MAX_FOLLOWED: usize = 40;

impl Tree {
    /// The inode at a path; symbolic links are not followed.
    pub(crate) fn find(&self, path: &[u8]) -> Option<InodeId> {
        path::names(path).try_fold(Self::ROOT, |directory, name| self.child(directory, name))
    }

    /// The inode at a path from the root; symbolic links before the last name are followed.
    pub(crate) fn find_through_links(&self, path: &[u8]) -> Option<InodeId> {
        let (parent, name) = path::split(path)?;
        let parent = self.follow(Self::ROOT, parent, &mut 0)?;
        self.child(parent, name)
    }

    /// The directory that a symbolic link in `directory` with this target leads to.
    pub(crate) fn follow_to_directory(&self, directory: InodeId, target: &[u8]) -> Option<InodeId> {
        self.follow(directory, target, &mut 0)
            .filter(|&id| self.directory(id).is_some())
    }

    /// Walks `target` from `start`, following every link. Above the root is the root.
    fn follow(&self, start: InodeId, target: &[u8], followed: &mut usize) -> Option<InodeId> {
        let mut current = if target.starts_with(b"/") {
            Self::ROOT
        } else {
            start
        };
        for name in path::names(target) {
            let directory = self.directory(current)?;
            current = match name {
                b"" | b"." => current,
                b".." => directory.parent,
                _ => {
                    let child = *directory.children.get(name)?;
                    match &self.get(child).kind {
                        Kind::Symlink(target) => {
                            *followed += 1;
                            if *followed > MAX_FOLLOWED {
                                return None;
                            }
                            self.follow(current, target, followed)?
                        }
                        _ => child,
                    }
                }
            };
        }
        Some(current)
    }
}

#[cfg(test)]
mod tests;
