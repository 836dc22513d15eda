//! The store: images on disk, shared by all processes of a user. `docs/images.md` draws its folder.
//!
//! Nothing in it is ever changed in place: files are written beside, synced and renamed. An image exists from the moment its
//! manifest does, which comes last; what has no manifest and no [`Lease`] is garbage. All processes agree by three kinds of file locks:
//!
//! - `lock`: shared for the moment in which a lease or a temporary folder is made, exclusive while garbage is looked for;
//! - each file in `leases/` and each folder in `tmp/`: exclusive for the life of its owner, so that it dies with the process;
//! - each file in `locks/`: exclusive while a layer is being converted, so that others wait for it and use the result.

mod catalog;
mod disk;
mod install;
mod lease;
mod outer;
mod sweep;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::Limits;
use crate::reference::Reference;

pub(crate) use disk::Workspace;
pub(crate) use install::{Candidate, LayerBlob, LayerBlobs};
pub use lease::Lease;
pub use outer::Lent;
pub use sweep::Removed;

/// The layout described in `docs/images.md`. A change that an older program would misread counts up.
const FORMAT: u32 = 1;

/// What is in a store's folder.
const FOLDERS: [&str; 8] = [
    "layers",
    "meta",
    "configs",
    "manifests",
    "tags",
    "leases",
    "locks",
    "tmp",
];

/// The images of one user on this machine.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// The folder of a store that is looked through where this one has nothing.
    outer: Option<PathBuf>,
    limits: Limits,
}

/// An image in the store.
#[derive(Debug, Clone)]
pub struct Image {
    /// The digest of its configuration: the same however its layers were compressed.
    pub id: Digest,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The names that it has here, sorted; none if they have all moved on to other images.
    pub references: Vec<Reference>,
    /// What to run, as what user, with which environment, and where it came from.
    pub config: ImageConfiguration,
    /// The EROFS image of the merged tree, which points into the layers.
    pub meta: PathBuf,
    /// The EROFS images of the layers, bottom first; a layer that occurs twice is there twice.
    pub layers: Vec<PathBuf>,
    /// Bytes on disk of all of these files, those shared with other images included.
    pub size: u64,
    /// When it was made, in RFC 3339, if it says.
    pub created: Option<String>,
}

impl Store {
    /// Opens the store in `folder`, makes it if there is none, and clears away what killed processes left behind.
    pub fn open(folder: &Path) -> Result<Store> {
        Store::with_limits(folder, Limits::default())
    }

    /// As [`Store::open`], with other limits for layers.
    pub fn with_limits(folder: &Path, limits: Limits) -> Result<Store> {
        let store = Store {
            folder: folder.to_owned(),
            outer: None,
            limits,
        };
        for name in FOLDERS {
            let path = store.folder.join(name);
            fs::create_dir_all(&path).map_err(Error::io("create", &path))?;
        }
        store.check_format()?;
        if let Some(_exclusive) = store.try_lock_exclusive()? {
            store.clear_dead()?;
        }
        Ok(store)
    }

    /// The folder of the store.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn check_format(&self) -> Result<()> {
        let path = self.folder.join("format");
        match fs::read_to_string(&path) {
            Ok(text) => match text.trim_ascii().parse::<u32>() {
                Ok(FORMAT) => Ok(()),
                Ok(found) if found > FORMAT => Err(Error::NewerFormat {
                    path: self.folder.clone(),
                    found,
                    known: FORMAT,
                }),
                _ => Err(Error::Damaged {
                    path,
                    problem: format!("`{}` is no format number", text.trim_ascii().escape_debug()),
                }),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.publish(&path, format!("{FORMAT}\n").as_bytes())
            }
            Err(error) => Err(Error::io("read", &path)(error)),
        }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.folder
            .join("layers")
            .join(format!("{}.erofs", diff_id.hex()))
    }

    pub(crate) fn meta_path(&self, chain_id: &Digest) -> PathBuf {
        self.folder
            .join("meta")
            .join(format!("{}.erofs", chain_id.hex()))
    }

    fn config_path(&self, id: &Digest) -> PathBuf {
        self.folder.join("configs").join(id.hex())
    }

    fn manifest_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("manifests").join(digest.hex())
    }

    fn layer_lock_path(&self, diff_id: &Digest) -> PathBuf {
        self.folder.join("locks").join(diff_id.hex())
    }

    fn lock_file(&self) -> Result<File> {
        disk::open_lock(&self.folder.join("lock"))
    }

    fn lock_shared(&self) -> Result<File> {
        let lock = self.lock_file()?;
        lock.lock_shared()
            .map_err(Error::io("lock", &self.folder.join("lock")))?;
        Ok(lock)
    }

    fn lock_exclusive(&self) -> Result<File> {
        let lock = self.lock_file()?;
        lock.lock()
            .map_err(Error::io("lock", &self.folder.join("lock")))?;
        Ok(lock)
    }

    fn try_lock_exclusive(&self) -> Result<Option<File>> {
        let lock = self.lock_file()?;
        disk::try_lock(&lock, &self.folder.join("lock")).map(|locked| locked.then_some(lock))
    }
}

#[cfg(test)]
#[path = "../store_test.rs"]
mod tests;
