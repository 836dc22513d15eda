//! What a user of this crate can be told when something fails.

use std::io;
use std::path::{Path, PathBuf};

use cenote_erofs::MergeError;

use crate::digest::Digest;
use crate::layer::LayerError;
use crate::manifest::ManifestError;
use crate::reference::ReferenceError;
use crate::registry::RegistryError;
use crate::source::ArchiveError;

/// The result of an operation on images.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A name is no image reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The host's file system refused something.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store was written by a newer program.
    #[error("the image store {} has format {found}, this program knows up to {known}; use a newer cenote or another data folder", path.display())]
    NewerFormat {
        /// The store's folder.
        path: PathBuf,
        /// The format on disk.
        found: u32,
        /// The newest format known here.
        known: u32,
    },
    /// A file of the store is not what was written there.
    #[error("{} is damaged ({problem}); remove the image and pull or load it again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No image has this name or id.
    #[error(
        "no image `{name}` here; `cenote pull {name}` gets it from a registry, `cenote images` shows what there is"
    )]
    NotFound {
        /// What was asked for.
        name: String,
    },
    /// More than one image has an id that begins like this.
    #[error("`{prefix}` is the beginning of {count} image ids; give more digits")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many ids begin with it.
        count: usize,
    },
    /// The image was removed by another process since it was resolved.
    #[error("image {id} was removed meanwhile; pull or load it again")]
    Gone {
        /// The image's id.
        id: Digest,
    },
    /// A running sandbox holds the image.
    #[error(
        "image {id} is in use by a running sandbox; stop it first, or force the removal of the name"
    )]
    InUse {
        /// The image's id.
        id: Digest,
    },
    /// The level above lends the image, and only it can remove it.
    #[error("image {id} is lent by the level above this machine and cannot be removed here")]
    Lent {
        /// The image's id.
        id: Digest,
    },
    /// An id has several names, so removing it would remove more than was asked for.
    #[error("image {id} has {count} names; remove them one by one, or force it")]
    ManyNames {
        /// The image's id.
        id: Digest,
        /// How many.
        count: usize,
    },
    /// The disk is too full to begin.
    #[error("{} has {free} bytes free, the image needs about {needed}; free some, for example with `cenote image prune`", path.display())]
    NoSpace {
        /// The store's folder.
        path: PathBuf,
        /// Bytes that will be written, estimated.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// One layer cannot be converted.
    #[error("layer {layer}: {source}")]
    Layer {
        /// The layer's blob, or its diff id where the blob has no name.
        layer: Digest,
        /// Why.
        source: LayerError,
    },
    /// The archive given to `import` cannot be converted.
    #[error("cannot import the archive: {0}")]
    Import(#[source] LayerError),
    /// The layers do not fit together.
    #[error("cannot merge the layers of image {id}: {source}")]
    Merge {
        /// The image's id.
        id: Digest,
        /// Why.
        source: MergeError,
    },
    /// The manifest, index or configuration is unusable.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An OCI layout or an archive of images is unusable.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The registry did not give what was asked for.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// `busybox --list-full` did not work.
    #[error("{} is no usable static busybox: {problem}; install Debian's busybox-static or give the path of another", path.display())]
    Busybox {
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

impl Error {
    /// Whether the same attempt may succeed later: the registry or the connection failed, not the image.
    pub(crate) fn is_interruption(&self) -> bool {
        matches!(
            self,
            Error::Registry(_)
                | Error::Layer {
                    source: LayerError::Blob(_),
                    ..
                }
        )
    }

    /// For `map_err`: what was tried on which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }
}
