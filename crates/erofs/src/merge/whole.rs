//! Whole files as pieces: each becomes one file of the merged tree.

use std::fs;

use super::{MergeError, WholeFile};
use crate::layout::{BLOCK_SIZE, MAX_BLOCKS, PIECE_ALIGNMENT};
use crate::metadata::Metadata;
use crate::path;
use crate::tree::{Blocks, Directory, Inode, InodeId, Kind, MAX_INODES, Presence, Regular, Tree};
use crate::write_error::{WriteError, show};

/// Puts `file` into the tree as piece number `piece`. Returns its length in blocks.
pub(super) fn place(merged: &mut Tree, file: &WholeFile, piece: u16) -> Result<u32, MergeError> {
    path::check(&file.name)?;
    let (folder, name) = path::split(&file.name).ok_or_else(|| WriteError::Path {
        path: show(&file.name),
        reason: "is the root, which can only be a directory",
    })?;
    let blocks = blocks(file)?;
    let mut parent = Tree::ROOT;
    for step in path::names(folder) {
        parent = match merged.child(parent, step) {
            Some(found) if merged.directory(found).is_some() => found,
            Some(_) => {
                return Err(WriteError::NotADirectory {
                    path: show(&file.name),
                    name: show(step),
                }
                .into());
            }
            None => {
                let directory = Kind::Directory(Directory::new(parent, Presence::Explicit));
                add(
                    merged,
                    parent,
                    step,
                    Metadata::implied_directory(),
                    directory,
                )?
            }
        };
    }
    let meta = Metadata {
        mode: 0o644,
        ..Metadata::default()
    };
    let data = Regular {
        size: u64::from(blocks) * BLOCK_SIZE,
        piece,
        blocks: Blocks::Plain(0),
    };
    add(merged, parent, name, meta, Kind::Regular(data))?;
    Ok(blocks)
}

/// The file's length in blocks, if it can be a piece.
fn blocks(file: &WholeFile) -> Result<u32, MergeError> {
    let path = || file.source.path.clone();
    let found = fs::metadata(&file.source.path).map_err(|source| MergeError::Open {
        path: path(),
        source,
    })?;
    let length = found.len();
    u32::try_from(length / BLOCK_SIZE)
        .ok()
        .filter(|&blocks| {
            blocks > 0 && length.is_multiple_of(PIECE_ALIGNMENT) && u64::from(blocks) < MAX_BLOCKS
        })
        .ok_or_else(|| MergeError::FileLength {
            path: path(),
            length,
        })
}

fn add(
    merged: &mut Tree,
    parent: InodeId,
    name: &[u8],
    meta: Metadata,
    kind: Kind,
) -> Result<InodeId, MergeError> {
    let id = merged
        .add(Inode { meta, kind })
        .ok_or(WriteError::TooMany {
            what: "inodes",
            limit: MAX_INODES as u64,
        })?;
    let directory = merged.directory_mut(parent);
    let directory = directory.expect("the caller looked it up as a directory");
    directory.children.insert(name.into(), id);
    Ok(id)
}
