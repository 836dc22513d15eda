//! Leases: files of the store that garbage collection must leave alone while their user lives.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{Image, Store, disk};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// Holds an image's files. It ends when it is dropped or its process dies, however that comes: the lock on its file is the lease.
#[derive(Debug)]
pub struct Lease {
    /// Removed at drop.
    _file: NamedTempFile,
}

/// What a lease's file says.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    /// The image that a sandbox runs; none while an image is being made.
    pub(super) image: Option<Digest>,
    /// Files of the store that must stay, relative to its folder. They need not exist yet.
    pub(super) files: BTreeSet<PathBuf>,
}

/// A lease names at most 256 layers of some 80 bytes.
const MAX_LEASE: u64 = 64 << 10;

impl Store {
    /// Holds the files of `image` against garbage collection, in any process, until the lease is dropped.
    pub fn lease(&self, image: &Image) -> Result<Lease> {
        let paths = || image.layers.iter().chain([&image.meta]);
        let lease = self.hold(Some(image.id), paths().cloned())?;
        // From here on nothing can vanish; before, it can have.
        match paths().all(|path| path.exists()) {
            true => Ok(lease),
            false => Err(Error::Gone { id: image.id }),
        }
    }

    /// Holds files that exist or will be made.
    pub(super) fn hold(
        &self,
        image: Option<Digest>,
        paths: impl Iterator<Item = PathBuf>,
    ) -> Result<Lease> {
        let relative = |path: PathBuf| match path.strip_prefix(&self.folder) {
            Ok(relative) => relative.to_owned(),
            Err(_) => path,
        };
        let held = Held {
            image,
            files: paths.map(relative).collect(),
        };
        let folder = self.folder.join("leases");
        let failed = |action| Error::io(action, &folder);
        let text = serde_json::to_vec(&held).expect("digests and ASCII paths are JSON");
        let _shared = self.lock_shared()?;
        let mut file = NamedTempFile::new_in(&folder).map_err(failed("create a lease in"))?;
        file.as_file().lock().map_err(failed("lock a lease in"))?;
        file.write_all(&text).map_err(failed("write a lease in"))?;
        Ok(Lease { _file: file })
    }

    /// All leases of living processes. The caller holds the store's lock alone; what dead processes left is removed.
    pub(super) fn live_leases(&self) -> Result<Vec<Held>> {
        let mut live = Vec::new();
        for entry in disk::entries(&self.folder.join("leases"))? {
            let path = entry.path();
            let file = match File::open(&path) {
                Ok(file) => file,
                // Dropped by its owner just now.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("open", &path)(error)),
            };
            if disk::try_lock(&file, &path)? {
                disk::remove(&path)?;
                continue;
            }
            let Some(text) = disk::read(&path, MAX_LEASE)? else {
                continue;
            };
            live.push(
                serde_json::from_slice(&text).map_err(|error| Error::Damaged {
                    path,
                    problem: error.to_string(),
                })?,
            );
        }
        Ok(live)
    }
}
