//! Volumes: directories of the data folder that outlive the sandboxes they are mounted in.
//!
//! A volume is the folder `<data>/volumes/NAME` with `volume.json` and, in `_data`, its files. Whatever makes or removes
//! one holds the lock under which sandboxes are made too, so none vanishes while a sandbox that wants it is being made.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use crate::json;
use crate::mount::Source;
use crate::removal::remove_if_there;
use crate::sandbox::{Sandbox, flock, now};
use crate::spec::Spec;
use crate::store::{self, MAKING, REMOVING, Store, check_name, io_error, is_id, new_id, sweep};

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Volume {
    /// Its name, unique among the volumes of one data folder.
    pub name: String,
    /// When it was made, in milliseconds since 1970.
    pub created: u64,
    /// Free words of the user.
    pub labels: BTreeMap<String, String>,
    /// Whether it was made for one sandbox, with a name that nobody chose.
    pub anonymous: bool,
}

/// Why something could not be done to a volume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the store could not be used, or a name not be given.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Another volume has the name.
    #[error("volume with name {0} already exists")]
    NameInUse(String),
    /// Nothing has this name.
    #[error("no volume {0}: `cenote volume ls` lists them")]
    NotFound(String),
    /// Sandboxes mount it.
    #[error("volume {name} is being used by {}: remove what uses it first (`cenote rm {}`)", .users.join(", "), .users.join(" "))]
    InUse {
        /// Its name.
        name: String,
        /// The sandboxes' names.
        users: Vec<String>,
    },
}

/// The volumes of one data folder.
#[derive(Debug, Clone)]
pub struct Volumes {
    store: Store,
}

impl Store {
    /// The volumes beside the sandboxes.
    pub fn volumes(&self) -> Volumes {
        Volumes {
            store: self.clone(),
        }
    }
}

/// A name for a volume that nobody names: 64 hexadecimal digits.
pub fn anonymous_name() -> String {
    new_id()
}

impl Volumes {
    /// Makes a volume called `name`.
    ///
    /// # Errors
    /// [`Error::NameInUse`]; [`store::Error::BadName`].
    pub fn create(&self, name: &str, labels: BTreeMap<String, String>) -> Result<Volume, Error> {
        let _lock = self.store.lock()?;
        sweep(&self.folder())?;
        match self.find(name) {
            Ok(_) => Err(Error::NameInUse(name.to_owned())),
            Err(Error::NotFound(_)) => Ok(self.make(name, labels, false)?),
            Err(error) => Err(error),
        }
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// When the folder cannot be read. A volume that vanishes meanwhile is left out.
    pub fn list(&self) -> Result<Vec<Volume>, Error> {
        let folder = self.folder();
        let failed = io_error(folder.clone());
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(&failed)?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let name = entry.map_err(&failed)?.file_name();
            if let Some(name) = name.to_str()
                && let Ok(volume) = self.find(name)
            {
                found.push(volume);
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// The volume called `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn find(&self, name: &str) -> Result<Volume, Error> {
        if check_name(name).is_err() && !is_id(name) {
            return Err(Error::NotFound(name.to_owned()));
        }
        let path = self.record(name);
        match json::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NotFound(name.to_owned()))
            }
            read => Ok(read.map_err(io_error(path))?),
        }
    }

    /// Where its files are on the host.
    pub fn data(&self, name: &str) -> PathBuf {
        self.folder().join(name).join("_data")
    }

    /// The sandboxes that mount it, running or not.
    ///
    /// # Errors
    /// When the sandboxes cannot be listed.
    pub fn users(&self, name: &str) -> Result<Vec<Sandbox>, store::Error> {
        let mut sandboxes = self.store.list()?;
        sandboxes.retain(|sandbox| names(sandbox.spec()).any(|(other, _)| other == name));
        Ok(sandboxes)
    }

    /// Removes one that no sandbox mounts, with its files.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::NotFound`].
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let _lock = self.store.lock()?;
        self.find(name)?;
        let users = self.remove_unless_used(name)?;
        if users.is_empty() {
            return Ok(());
        }
        Err(Error::InUse {
            name: name.to_owned(),
            users,
        })
    }

    /// Removes all that no sandbox mounts, and answers their names.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn prune(&self) -> Result<Vec<String>, Error> {
        let _lock = self.store.lock()?;
        sweep(&self.folder())?;
        let mut removed = Vec::new();
        for volume in self.list()? {
            if self.remove_unless_used(&volume.name)?.is_empty() {
                removed.push(volume.name);
            }
        }
        Ok(removed)
    }

    /// Removes the volumes that were made for `spec` alone and that no sandbox mounts. The caller holds the lock.
    pub(crate) fn remove_made_for(&self, spec: &Spec) -> Result<(), store::Error> {
        for (name, _) in names(spec).filter(|(_, anonymous)| *anonymous) {
            self.remove_unless_used(name)?;
        }
        Ok(())
    }

    /// Makes the volumes of `spec` that are not there yet. The caller holds the lock.
    pub(crate) fn make_for(&self, spec: &Spec) -> Result<(), store::Error> {
        for (name, anonymous) in names(spec) {
            if !self.record(name).exists() {
                self.make(name, BTreeMap::new(), anonymous)?;
            }
        }
        Ok(())
    }

    /// The right to fill it, if it is empty: whoever else wants to waits until the file is closed, and then finds it
    /// filled.
    pub(crate) fn fill(&self, name: &str) -> Result<Option<File>, Error> {
        let empty = || {
            let path = self.data(name);
            let mut entries = fs::read_dir(&path).map_err(io_error(path))?;
            Ok::<_, store::Error>(entries.next().is_none())
        };
        self.find(name)?;
        if !empty()? {
            return Ok(None);
        }
        let path = self.record(name);
        let failed = io_error(path.clone());
        let lock = File::open(&path).map_err(&failed)?;
        flock(&lock, FlockOperation::LockExclusive).map_err(failed)?;
        Ok(empty()?.then_some(lock))
    }

    fn make(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        anonymous: bool,
    ) -> Result<Volume, store::Error> {
        // A name that nobody chose is longer than those that are.
        if !is_id(name) {
            check_name(name)?;
        }
        let volume = Volume {
            name: name.to_owned(),
            created: now(),
            labels,
            anonymous,
        };
        let beside = self.folder().join(format!("{MAKING}{name}"));
        let failed = io_error(beside.clone());
        let made = DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&beside)
            .and_then(|()| DirBuilder::new().mode(0o755).create(beside.join("_data")))
            .and_then(|()| json::replace(&beside.join("volume.json"), &volume))
            .and_then(|()| fs::rename(&beside, self.folder().join(name)));
        if let Err(error) = made {
            // What could not be made whole must not stay; the first error is the one to tell.
            let _ = fs::remove_dir_all(&beside);
            return Err(failed(error));
        }
        Ok(volume)
    }

    /// Removes one if there is nobody to answer: the names of the sandboxes that mount it.
    fn remove_unless_used(&self, name: &str) -> Result<Vec<String>, store::Error> {
        let users = self.users(name)?;
        if !users.is_empty() {
            return Ok(users.iter().map(|user| user.spec().name.clone()).collect());
        }
        let gone = self.folder().join(format!("{REMOVING}{name}"));
        match fs::rename(self.folder().join(name), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            renamed => renamed.map_err(io_error(self.folder()))?,
        }
        remove_if_there(&gone).map_err(io_error(gone))?;
        Ok(Vec::new())
    }

    fn folder(&self) -> PathBuf {
        self.store.paths().volumes()
    }

    fn record(&self, name: &str) -> PathBuf {
        self.folder().join(name).join("volume.json")
    }
}

/// Whether any volume was made for `spec` alone.
pub(crate) fn has_anonymous(spec: &Spec) -> bool {
    names(spec).any(|(_, anonymous)| anonymous)
}

/// The volumes that a specification names, and whether each was made for it alone.
fn names(spec: &Spec) -> impl Iterator<Item = (&str, bool)> {
    spec.mounts.iter().filter_map(|mount| match &mount.source {
        Source::Volume {
            name, anonymous, ..
        } => Some((name.as_str(), *anonymous)),
        Source::Tmpfs | Source::Bind { .. } => None,
    })
}

#[cfg(test)]
#[path = "volume_test.rs"]
mod tests;
