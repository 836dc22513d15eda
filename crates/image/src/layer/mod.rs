//! A layer on its way from a tar archive to an EROFS image: decompress, check both digests, parse, write.
//!
//! Everything that arrives here was made by a stranger. The tree is only ever data of the image that is being written, never
//! files of this host, so an archive cannot reach outside; what it can do is be malformed or huge, and both are refused.

mod compression;
mod convert;
mod header;
mod pax;
mod pipeline;
mod sparse;
pub(crate) mod tar;
mod tar_error;

pub(crate) use compression::peek;
pub use compression::{Compression, Unsupported};
pub use convert::LayerError;
pub use pipeline::{Converted, Expected, Limits, convert};
pub use tar_error::TarError;
