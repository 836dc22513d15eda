//! Merges the trees of many layers into one metadata image whose device table points into the layers.
//!
//! Beside layers, whole files can be pieces: each is one file of the tree, which then reads the same pages.

mod apply;
mod whole;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use apply::{Fault, apply};

use crate::emit::{self, Target};
use crate::image::{Image, ReadError};
use crate::layout::{BLOCK_SIZE, DeviceSlot, HUGE_BLOCKS, MAX_BLOCKS};
use crate::plan::Plan;
use crate::tree::{MAX_INODES, Presence, Tree};
use crate::write_error::{WriteError, show};

/// Layers of one image. Registries and engines stop at 127; this bounds the memory for their trees.
const MAX_LAYERS: usize = 256;

/// Whole files beside them: the layers of a few images.
const MAX_FILES: usize = 1024;

/// A layer's image and the name that its slot in the device table shall have.
#[derive(Debug, Clone)]
pub struct LayerSource {
    /// The image that [`crate::LayerWriter`] wrote.
    pub path: PathBuf,
    /// For example the digest of the layer in hexadecimal; shorter tags end with zeros.
    pub tag: [u8; 64],
}

/// A file outside of the image that becomes a file of the tree, in place.
#[derive(Debug, Clone)]
pub struct WholeFile {
    /// Where it is in the tree; directories on the way are made if need be.
    pub name: Vec<u8>,
    /// The file, and its device's name.
    pub source: LayerSource,
}

/// A piece's place in the back-to-back concatenation of the metadata image and the layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// First block of 4 KiB.
    pub start: u32,
    /// Number of blocks, a multiple of 512.
    pub blocks: u32,
}

/// What a merged image consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeSummary {
    /// The metadata image, then the layers in their order.
    pub pieces: Vec<Piece>,
    /// Inodes of the merged tree.
    pub inodes: u64,
}

/// Why layers could not be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// More layers than are accepted, or none.
    #[error("{count} layers: an image has 1 to {MAX_LAYERS}")]
    LayerCount {
        /// Number of layers.
        count: usize,
    },
    /// A layer's image cannot be opened.
    #[error("cannot open the layer {path}: {source}")]
    Open {
        /// The layer's image.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A layer's image is damaged.
    #[error("the layer {path} is damaged; remove it and convert it again: {source}")]
    Layer {
        /// The layer's image.
        path: PathBuf,
        /// What is wrong with it.
        source: ReadError,
    },
    /// A layer's image points into others, so its addresses have no place in the merged image.
    #[error("{path} is not a layer but a merged image; give the layers that it was made from")]
    Merged {
        /// The image.
        path: PathBuf,
    },
    /// A layer's image does not end on a huge-page boundary.
    #[error(
        "the layer {path} has {blocks} blocks, not a multiple of {HUGE_BLOCKS}; remove it and convert it again"
    )]
    Unpadded {
        /// The layer's image.
        path: PathBuf,
        /// Its length in blocks.
        blocks: u32,
    },
    /// A hard link to nothing.
    #[error("a hard link in the layer {layer} names {target}, which no layer below has as a file")]
    LinkTarget {
        /// The layer's image.
        layer: PathBuf,
        /// The path that it names.
        target: String,
    },
    /// More whole files than are accepted.
    #[error("{count} files: at most {MAX_FILES} can be pieces of an image")]
    FileCount {
        /// Number of files.
        count: usize,
    },
    /// A whole file that cannot be a piece.
    #[error(
        "{path} has {length} bytes: only files of a multiple of 2 MiB can be pieces of an image"
    )]
    FileLength {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// The merged image could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// Merges layers, bottom first, into a metadata image in `out`, an empty file.
///
/// Whiteouts and opaque directories are resolved, deferred hard links are tied to the file below, and no overlay
/// mark is left. Inodes carry addresses of the concatenation \[metadata | layer 0 | layer 1 ...\], and the device
/// table says where each layer starts in it, so that the guest may have it as one device or as one device per piece.
///
/// # Errors
/// [`MergeError`].
pub fn merge(layers: &[LayerSource], out: File) -> Result<MergeSummary, MergeError> {
    merge_with_files(layers, &[], out)
}

/// As [`merge`], with each of `files` as a file of the tree, owned by root and readable by all. Its pages are those of
/// the file itself, so a guest that maps it reads what the host has in its page cache.
///
/// No two files of a tree may lie in the same blocks: under DAX a page belongs to one file. A layer that is given
/// whole is therefore not one of `layers` unless a guest gets it as two devices.
///
/// # Errors
/// [`MergeError`].
pub fn merge_with_files(
    layers: &[LayerSource],
    files: &[WholeFile],
    out: File,
) -> Result<MergeSummary, MergeError> {
    if layers.is_empty() || layers.len() > MAX_LAYERS {
        return Err(MergeError::LayerCount {
            count: layers.len(),
        });
    }
    if files.len() > MAX_FILES {
        return Err(MergeError::FileCount { count: files.len() });
    }
    let length = out.metadata().map_err(WriteError::io("inspect"))?.len();
    if length != 0 {
        return Err(WriteError::NotEmpty { length }.into());
    }
    let mut merged = Tree::new(Presence::Explicit);
    let mut pieces = Vec::with_capacity(layers.len() + files.len());
    for layer in layers {
        let (tree, blocks) = read(layer, pieces.len() as u16)?;
        put_on_top(&mut merged, &tree, layer)?;
        pieces.push((&layer.tag, blocks));
    }
    for file in files {
        let blocks = whole::place(&mut merged, file, pieces.len() as u16)?;
        pieces.push((&file.source.tag, blocks));
    }
    write(&merged, &pieces, &out)
}

fn read(layer: &LayerSource, piece: u16) -> Result<(Tree, u32), MergeError> {
    let path = || layer.path.clone();
    let damaged = |source| MergeError::Layer {
        path: path(),
        source,
    };
    let file = File::open(&layer.path).map_err(|source| MergeError::Open {
        path: path(),
        source,
    })?;
    let mut image = Image::open(file).map_err(damaged)?;
    if image.has_devices() {
        return Err(MergeError::Merged { path: path() });
    }
    let blocks = image.blocks();
    if !u64::from(blocks).is_multiple_of(HUGE_BLOCKS) {
        return Err(MergeError::Unpadded {
            path: path(),
            blocks,
        });
    }
    Ok((image.tree(piece).map_err(damaged)?, blocks))
}

/// Writes the tree, whose files lie in pieces of these tags and lengths in blocks.
fn write(
    merged: &Tree,
    sources: &[(&[u8; 64], u32)],
    out: &File,
) -> Result<MergeSummary, MergeError> {
    let plan = Plan::new(merged)?;
    let meta_block = emit::header_blocks(sources.len());
    let mut start = emit::image_length(&plan, meta_block)? / BLOCK_SIZE;
    let mut pieces = vec![Piece {
        start: 0,
        blocks: start as u32,
    }];
    for &(_, blocks) in sources {
        let end = start + u64::from(blocks);
        if end >= MAX_BLOCKS {
            return Err(WriteError::TooLarge { limit: MAX_BLOCKS }.into());
        }
        pieces.push(Piece {
            start: start as u32,
            blocks,
        });
        start = end;
    }
    let slot = |(&(&tag, _), piece): (&(&[u8; 64], u32), &Piece)| DeviceSlot {
        tag,
        blocks: piece.blocks.into(),
        uniaddr: piece.start.into(),
        reserved: [0; 56],
    };
    let devices: Vec<DeviceSlot> = sources.iter().zip(&pieces[1..]).map(slot).collect();
    let piece_bases: Vec<u32> = pieces[1..].iter().map(|piece| piece.start).collect();
    let target = Target {
        file: out,
        meta_block,
        piece_bases: &piece_bases,
        devices: &devices,
    };
    emit::emit(merged, &plan, &target)?;
    Ok(MergeSummary {
        pieces,
        inodes: plan.places.len() as u64,
    })
}

fn put_on_top(merged: &mut Tree, tree: &Tree, layer: &LayerSource) -> Result<(), MergeError> {
    apply(merged, tree).map_err(|fault| match fault {
        Fault::LinkTarget(target) => MergeError::LinkTarget {
            layer: layer.path.clone(),
            target: show(&target),
        },
        Fault::TooManyInodes => WriteError::TooMany {
            what: "inodes",
            limit: MAX_INODES as u64,
        }
        .into(),
    })
}

#[cfg(test)]
mod tests;
