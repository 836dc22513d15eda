//! EROFS images for DAX: write one image per layer from a tar-like stream, merge many layers into one tree.
//!
//! Knows nothing of OCI, of VMs, or of where the entries come from. The bytes are drawn in `docs/image-format.md`;
//! the format itself is defined by the Linux kernel's `fs/erofs/erofs_fs.h`.
//!
//! - [`LayerWriter`] takes entries in any order, streams file data into the image and writes the tree at the end.
//! - [`merge`] reads the trees of many layers, bottom first, and writes one metadata image that points into them.
//! - [`Image`] is the checked reader that merging stands on: it believes nothing that the image says.

mod crc32c;
mod data_area;
mod directory;
mod emit;
#[cfg(test)]
mod flat;
mod image;
#[cfg(test)]
mod judge;
mod layer;
mod layout;
mod merge;
mod metadata;
#[cfg(test)]
mod model;
mod path;
mod plan;
mod sparse;
mod tree;
mod write_error;
mod xattr;

pub use image::{Image, ReadError};
pub use layer::{LayerSummary, LayerWriter};
pub use layout::{BLOCK_SIZE, PIECE_ALIGNMENT};
pub use merge::{LayerSource, MergeError, MergeSummary, Piece, WholeFile, merge, merge_with_files};
pub use metadata::{Device, Metadata, Timestamp};
pub use write_error::WriteError;
