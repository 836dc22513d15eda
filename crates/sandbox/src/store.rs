//! The sandboxes of one data folder.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::json;
use crate::paths::Paths;
use crate::removal::remove_if_there;
use crate::sandbox::Sandbox;
use crate::spec::Spec;
use crate::state::State;

/// A name longer than this does not fit a host name, which it becomes part of in listings and logs.
const MAX_NAME: usize = 63;

/// How the folders begin that are not sandboxes yet, or not any more.
pub(crate) const MAKING: &str = ".new-";
pub(crate) const REMOVING: &str = ".gone-";

/// Why the store could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder of the store could not be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The name has characters that a path or a host name cannot have.
    #[error(
        "the name {0:?} is not usable: use letters, digits, '_', '.' and '-', up to 63, beginning with a letter or digit"
    )]
    BadName(String),
    /// Another sandbox has the name.
    #[error(
        "the name {name} is in use by sandbox {id}: remove it (`cenote rm {name}`) or choose another name"
    )]
    NameInUse {
        /// The name.
        name: String,
        /// The other sandbox's short id.
        id: String,
    },
    /// Nothing has this name or id.
    #[error("no sandbox {0}: `cenote ps -a` lists them")]
    NotFound(String),
    /// The beginning of an id is not enough.
    #[error("{0} begins the ids of several sandboxes: give more of it")]
    Ambiguous(String),
}

/// The sandboxes of one data folder, and the runtime folder of their sockets.
#[derive(Debug, Clone)]
pub struct Store {
    paths: Paths,
}

impl Store {
    /// The store below `paths`.
    ///
    /// # Errors
    /// [`Error::Io`] when its folder cannot be made.
    pub fn open(paths: &Paths) -> Result<Self, Error> {
        let store = Self {
            paths: paths.clone(),
        };
        let folder = paths.sandboxes();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(io_error(folder))?;
        Ok(store)
    }

    /// Makes a sandbox that is not started, and the volumes that it names, if they are not there.
    ///
    /// # Errors
    /// [`Error::BadName`], [`Error::NameInUse`], [`Error::Io`].
    pub fn create(&self, spec: &Spec) -> Result<Sandbox, Error> {
        check_name(&spec.name)?;
        let _lock = self.lock()?;
        sweep(&self.paths.sandboxes())?;
        if let Some(other) = self
            .list()?
            .into_iter()
            .find(|other| other.spec().name == spec.name)
        {
            return Err(Error::NameInUse {
                name: spec.name.clone(),
                id: other.short_id().to_owned(),
            });
        }
        let volumes = self.volumes();
        volumes.make_for(spec)?;
        let made = self.make(spec);
        if made.is_err() {
            // The first error is the one to tell.
            let _ = volumes.remove_made_for(spec);
        }
        made
    }

    fn make(&self, spec: &Spec) -> Result<Sandbox, Error> {
        let id = new_id();
        let folder = self.paths.sandboxes().join(&id);
        let beside = self.paths.sandboxes().join(format!("{MAKING}{id}"));
        let failed = io_error(beside.clone());
        let made = DirBuilder::new()
            .mode(0o700)
            .create(&beside)
            .and_then(|()| json::replace(&beside.join("spec.json"), spec))
            .and_then(|()| json::replace(&beside.join("state.json"), &State::Created))
            .and_then(|()| File::create(beside.join("lock")).map(drop))
            .and_then(|()| fs::rename(&beside, &folder));
        if let Err(error) = made {
            // What could not be made whole must not stay; the first error is the one to tell.
            let _ = fs::remove_dir_all(&beside);
            return Err(failed(error));
        }
        Sandbox::open(&self.paths, &id)
    }

    /// The sandbox with this name, this id, or the only one whose id begins so.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Io`].
    pub fn find(&self, name: &str) -> Result<Sandbox, Error> {
        let all = self.list()?;
        if let Some(found) = all
            .iter()
            .find(|sandbox| sandbox.spec().name == name || sandbox.id() == name)
        {
            return Ok(found.clone());
        }
        let mut matching = all
            .into_iter()
            .filter(|sandbox| !name.is_empty() && sandbox.id().starts_with(name));
        match (matching.next(), matching.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => Err(Error::Ambiguous(name.to_owned())),
            (None, _) => Err(Error::NotFound(name.to_owned())),
        }
    }

    /// All sandboxes, oldest first.
    ///
    /// # Errors
    /// [`Error::Io`] when the folder cannot be read. A sandbox that vanishes meanwhile is left out.
    pub fn list(&self) -> Result<Vec<Sandbox>, Error> {
        let folder = self.paths.sandboxes();
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io_error(folder.clone()))? {
            let name = entry.map_err(io_error(folder.clone()))?.file_name();
            let Some(id) = name.to_str().filter(|id| is_id(id)) else {
                continue;
            };
            if let Ok(sandbox) = Sandbox::open(&self.paths, id) {
                found.push(sandbox);
            }
        }
        found.sort_by_key(|sandbox| (sandbox.created(), sandbox.id().to_owned()));
        Ok(found)
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// Held while names are compared and given away.
    pub(crate) fn lock(&self) -> Result<File, Error> {
        let path = self.paths.sandboxes().join(".lock");
        let failed = io_error(path.clone());
        let file = File::create(&path).map_err(&failed)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|errno| failed(errno.into()))?;
        Ok(file)
    }
}

/// Clears what processes that were killed left half made or half removed of a folder's sandboxes or volumes. The caller
/// holds the store's lock, under which every one is made.
pub(crate) fn sweep(folder: &Path) -> Result<(), Error> {
    let failed = io_error(folder.to_owned());
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(&failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(&failed)?;
        let name = entry.file_name();
        let half = |half: &str| name.as_encoded_bytes().starts_with(half.as_bytes());
        if half(MAKING) || half(REMOVING) {
            remove_if_there(&entry.path()).map_err(io_error(entry.path()))?;
        }
    }
    Ok(())
}

pub(crate) fn io_error(path: PathBuf) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.clone(),
        source,
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let first = name
        .chars()
        .next()
        .is_some_and(|first| first.is_ascii_alphanumeric());
    let rest = name
        .chars()
        .all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    if first && rest && name.len() <= MAX_NAME {
        Ok(())
    } else {
        Err(Error::BadName(name.to_owned()))
    }
}

/// 256 random bits in hexadecimal digits, as container ids are elsewhere.
pub(crate) fn new_id() -> String {
    let mut bytes = [0_u8; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        // The kernel's generator fails only before it is seeded, and then with EINTR at most.
        filled +=
            rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())
                .unwrap_or(0);
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn is_id(name: &str) -> bool {
    name.len() == 64
        && name
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
#[path = "store_test.rs"]
pub(crate) mod tests;
