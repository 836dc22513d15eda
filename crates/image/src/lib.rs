//! OCI images: references, registries, archives and the store in which each layer is an EROFS image.
//!
//! Knows nothing of VMs. [`Store`] is the way in: it finds images ([`Store::resolve`]), holds them while a sandbox maps
//! them ([`Store::lease`]), and makes them from whatever a [`Source`] names. An [`Image`] is a list of files to map and a
//! configuration to run. `docs/images.md` says what is accepted and what is refused.

#![expect(
    dead_code,
    reason = "registries and archives, which use the rest, come next"
)]

mod base;
mod digest;
mod error;
mod import;
mod layer;
mod manifest;
mod platform;
mod progress;
mod pull;
mod reference;
mod registry;
mod source;
mod store;

pub use cenote_erofs::{MergeError, WriteError};
pub use digest::{Digest, DigestError};
pub use error::{Error, Result};
pub use import::ImportOptions;
pub use layer::{
    Compression, Converted, Expected, LayerError, Limits, TarError, Unsupported, convert,
};
pub use manifest::{MAX_DOCUMENT, ManifestError};
pub use platform::{Platform, PlatformError};
pub use progress::{Progress, Silent};
pub use pull::PullOptions;
pub use reference::{Reference, ReferenceError, Version};
pub use registry::RegistryError;
pub use source::{ArchiveError, Source, SourceError};
pub use store::{Image, Lease, Lent, Removed, Store};
