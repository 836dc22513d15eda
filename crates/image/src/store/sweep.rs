//! Removing names, images, and what no image and no lease needs any more.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::PathBuf;

use super::catalog::is_lost;
use super::{Image, Store, disk};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;

/// What a removal did.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Names that are gone.
    pub untagged: Vec<Reference>,
    /// Ids of images that are gone.
    pub deleted: Vec<Digest>,
    /// Bytes on disk that became free.
    pub freed: u64,
}

/// Folders whose files belong to images.
const KEPT_BY_IMAGES: [&str; 4] = ["layers", "meta", "configs", "locks"];

impl Store {
    /// Removes an image by name: the name, and if it was the last one the image. By id: the image with its name.
    ///
    /// Without `force`, an image that a running sandbox holds stays, as does one that an id names which has several names.
    /// With it, a running sandbox keeps its files until it ends.
    pub fn remove(&self, name: &str, force: bool) -> Result<Removed> {
        let _exclusive = self.lock_exclusive()?;
        let image = match self.resolve(name) {
            Err(error @ (Error::Damaged { .. } | Error::Manifest(_))) => {
                return self.remove_damaged(name).transpose().unwrap_or(Err(error));
            }
            image => image?,
        };
        let named = Reference::candidates(name)
            .unwrap_or_default()
            .into_iter()
            .find(|candidate| image.references.contains(candidate));
        let untagged = match named {
            Some(reference) => vec![reference],
            None if image.references.len() > 1 && !force => {
                return Err(Error::ManyNames {
                    id: image.id,
                    count: image.references.len(),
                });
            }
            None => image.references.clone(),
        };
        let is_last = untagged.len() == image.references.len();
        if is_last && !force && self.is_held(&image)? {
            return Err(Error::InUse { id: image.id });
        }
        for reference in &untagged {
            self.check_own(&self.tag_path(reference), image.id)?;
        }
        if is_last {
            self.check_own(&self.manifest_path(&image.digest), image.id)?;
        }
        for reference in &untagged {
            disk::remove(&self.tag_path(reference))?;
        }
        let mut removed = Removed {
            untagged,
            ..Removed::default()
        };
        if is_last {
            disk::remove(&self.manifest_path(&image.digest))?;
            removed.deleted.push(image.id);
            removed.freed = self.sweep()?;
        }
        Ok(removed)
    }

    /// Removes a name of an image that cannot be read, and what it leads to. `None` if the name is not known.
    fn remove_damaged(&self, name: &str) -> Result<Option<Removed>> {
        let candidates = Reference::candidates(name).unwrap_or_default();
        let tags = self.tags()?;
        let Some(tag) = tags.iter().find(|tag| candidates.contains(&tag.reference)) else {
            return Ok(None);
        };
        disk::remove(&self.tag_path(&tag.reference))?;
        disk::remove(&self.manifest_path(&tag.manifest))?;
        Ok(Some(Removed {
            untagged: vec![tag.reference.clone()],
            freed: self.sweep()?,
            ..Removed::default()
        }))
    }

    /// Removes images that have lost their names, and whatever interrupted work left behind.
    pub fn prune(&self) -> Result<Removed> {
        let _exclusive = self.lock_exclusive()?;
        let mut removed = Removed::default();
        for image in self.list()? {
            let is_own = self.manifest_path(&image.digest).exists();
            if is_own && image.references.is_empty() && !self.is_held(&image)? {
                disk::remove(&self.manifest_path(&image.digest))?;
                removed.deleted.push(image.id);
            }
        }
        removed.freed = self.sweep()?;
        Ok(removed)
    }

    fn is_held(&self, image: &Image) -> Result<bool> {
        Ok(self
            .live_leases()?
            .iter()
            .any(|lease| lease.image == Some(image.id)))
    }

    /// Removes garbage now, unless another process is about to make or remove something.
    pub(super) fn sweep_if_idle(&self) -> Result<()> {
        if let Some(_exclusive) = self.try_lock_exclusive()? {
            self.sweep()?;
        }
        Ok(())
    }

    /// Removes every file that neither a manifest nor a lease names. The caller holds the store's lock alone.
    fn sweep(&self) -> Result<u64> {
        self.clear_dead()?;
        let mut keep: BTreeSet<PathBuf> = BTreeSet::new();
        for lease in self.live_leases()? {
            keep.extend(lease.files.iter().map(|file| self.folder.join(file)));
        }
        for digest in self.manifests()? {
            match self.documents(&digest) {
                Ok((manifest, config)) => {
                    keep.extend(self.files_of(&manifest.config.digest, &config));
                }
                // Nobody can run it: its layers go, and a new pull makes it whole.
                Err(error) if is_lost(&error) => {}
                Err(error) => return Err(error),
            }
        }
        let mut freed = 0;
        for folder in KEPT_BY_IMAGES {
            for entry in disk::entries(&self.folder.join(folder))? {
                if !keep.contains(&entry.path()) {
                    freed += disk::remove(&entry.path())?;
                }
            }
        }
        Ok(freed)
    }

    /// Removes what processes left that died: leases and temporary folders. The caller holds the store's lock alone.
    pub(super) fn clear_dead(&self) -> Result<()> {
        self.live_leases()?;
        for entry in disk::entries(&self.folder.join("tmp"))? {
            let path = entry.path();
            // Its owner may have finished with it just now.
            let Ok(folder) = File::open(&path) else {
                continue;
            };
            if disk::try_lock(&folder, &path)? {
                fs::remove_dir_all(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}
