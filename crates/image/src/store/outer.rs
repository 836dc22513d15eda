//! Images that another store lends: what a store looks like to a machine inside, and how it is looked through there.
//!
//! A machine that runs containers of its own gets the images that its sandbox names, as a store that only the level
//! above changes. Its own store lies over that one: what it does not have itself it takes from there, without locks
//! and leases, for which the level above answers.

use std::path::{Path, PathBuf};

use super::{FORMAT, Image, Store, disk};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::MAX_DOCUMENT;

/// What of a store lets another level run some of its images. Names are relative to the store's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lent {
    /// Small files: name and content.
    pub documents: Vec<(PathBuf, Vec<u8>)>,
    /// Files to be shown as they are: name, and where each is. Their lengths are multiples of 2 MiB.
    pub files: Vec<(PathBuf, PathBuf)>,
}

impl Store {
    /// This store over the one in the folder `outer`, which is only read. A folder of another format is left aside.
    #[must_use]
    pub fn over(self, outer: &Path) -> Store {
        let format = std::fs::read_to_string(outer.join("format"));
        let fits = format.is_ok_and(|text| text.trim_ascii() == FORMAT.to_string());
        Store {
            outer: fits.then(|| outer.to_owned()),
            ..self
        }
    }

    /// What makes `images` a store of their own. The caller holds leases on them for as long as it is used.
    ///
    /// # Errors
    /// When a document of an image cannot be read.
    pub fn lend(&self, images: &[Image]) -> Result<Lent> {
        let mut lent = Lent {
            documents: vec![("format".into(), format!("{FORMAT}\n").into_bytes())],
            files: Vec::new(),
        };
        let tags = self.tags()?;
        for image in images {
            for path in [
                self.manifest_path(&image.digest),
                self.config_path(&image.id),
            ] {
                let content = disk::read(&self.find(path.clone()), MAX_DOCUMENT)?;
                let content = content.ok_or(Error::Gone { id: image.id })?;
                lent.documents.push((self.name(&path), content));
            }
            for tag in tags.iter().filter(|tag| tag.manifest == image.digest) {
                let name = self.name(&self.tag_path(&tag.reference));
                let text = serde_json::to_vec(tag).expect("references and digests are JSON");
                lent.documents.push((name, text));
            }
            for path in image.layers.iter().chain([&image.meta]) {
                lent.files.push((self.name(path), path.clone()));
            }
        }
        lent.documents.sort_unstable();
        lent.documents.dedup();
        lent.files.sort_unstable();
        lent.files.dedup();
        Ok(lent)
    }

    /// Where a file of this store is: `own`, or its counterpart in the outer store if only that has it.
    pub(super) fn find(&self, own: PathBuf) -> PathBuf {
        let Some(outer) = &self.outer else {
            return own;
        };
        if own.exists() {
            return own;
        }
        let theirs = outer.join(self.name(&own));
        if theirs.exists() { theirs } else { own }
    }

    /// The folder of this name here, and in the outer store.
    pub(super) fn folders(&self, name: &str) -> impl Iterator<Item = PathBuf> {
        let outer = self.outer.as_ref().map(|outer| outer.join(name));
        [self.folder.join(name)]
            .into_iter()
            .chain(outer.filter(|folder| folder.is_dir()))
    }

    /// Refuses to change what is not this store's own.
    pub(super) fn check_own(&self, path: &Path, id: Digest) -> Result<()> {
        match self.outer.is_some() && !path.exists() {
            true => Err(Error::Lent { id }),
            false => Ok(()),
        }
    }

    /// A path of this or the outer store, relative to its folder.
    fn name(&self, path: &Path) -> PathBuf {
        let own = path.strip_prefix(&self.folder);
        let theirs = || {
            let outer = self.outer.as_ref()?;
            path.strip_prefix(outer).ok()
        };
        own.ok().or_else(theirs).unwrap_or(path).to_owned()
    }
}
