//! Where Cenote keeps things on this host.

use std::env;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use cenote_debian::Tools;

/// Folders of a data folder, lent ones included.
pub(crate) const IMAGES: &str = "images";
pub(crate) const KERNELS: &str = "kernels";
pub(crate) const TOOLS: &str = "tools";
pub(crate) const DISKS: &str = "disks";

/// The two roots below which everything lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// What survives a reboot: images, kernels, tools, sandboxes.
    pub data: PathBuf,
    /// What does not: sockets. Short, because a socket's path has at most 107 bytes.
    pub runtime: PathBuf,
    /// In a container that may run others: a data folder that the level above lends, which is only read.
    pub outer: Option<PathBuf>,
}

/// Why the roots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither `CENOTE_DATA`, `XDG_DATA_HOME` nor `HOME` says where data may go.
    #[error("no place for data: set HOME or CENOTE_DATA")]
    NoHome,
    /// A folder could not be made.
    #[error("cannot make the folder {path}: {source}")]
    Create {
        /// The folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The runtime folder belongs to somebody else, who could then take over the sockets in it.
    #[error("{path} belongs to user {owner}, not to you: remove it or set CENOTE_RUNTIME")]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// Its owner's numeric id.
        owner: u32,
    },
}

impl Paths {
    /// The roots by the environment: `CENOTE_DATA` and `CENOTE_RUNTIME` where set, else /var/lib/cenote and /run/cenote
    /// for root and the XDG base directories for everybody else. Both folders exist afterwards.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn from_env() -> Result<Self, Error> {
        let uid = rustix::process::getuid().as_raw();
        let mut paths = Self::chosen(uid, |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        })?;
        create(&paths.data, 0o755)?;
        create(&paths.runtime, 0o700)?;
        own(&paths.runtime, uid)?;
        paths.outer = Some(PathBuf::from(cenote_protocol::OUTER)).filter(|path| path.is_dir());
        Ok(paths)
    }

    fn chosen(uid: u32, variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self, Error> {
        let data = match variable("CENOTE_DATA") {
            Some(folder) => folder,
            None if uid == 0 => PathBuf::from("/var/lib/cenote"),
            None => variable("XDG_DATA_HOME")
                .or_else(|| variable("HOME").map(|home| home.join(".local/share")))
                .ok_or(Error::NoHome)?
                .join("cenote"),
        };
        let runtime = match (variable("CENOTE_RUNTIME"), variable("XDG_RUNTIME_DIR")) {
            (Some(folder), _) => folder,
            (None, _) if uid == 0 => PathBuf::from("/run/cenote"),
            (None, Some(folder)) => folder.join("cenote"),
            (None, None) => PathBuf::from(format!("/tmp/cenote-{uid}")),
        };
        Ok(Self {
            data,
            runtime,
            outer: None,
        })
    }

    /// The images.
    ///
    /// # Errors
    /// When the store cannot be opened.
    pub fn images(&self) -> Result<cenote_image::Store, cenote_image::Error> {
        let store = cenote_image::Store::open(&self.data.join(IMAGES))?;
        Ok(match &self.outer {
            Some(outer) => store.over(&outer.join(IMAGES)),
            None => store,
        })
    }

    /// The guest kernels.
    pub fn kernels(&self) -> cenote_kernel::Store {
        let store = cenote_kernel::Store::new(self.data.join(KERNELS));
        match &self.outer {
            Some(outer) => store.over(&outer.join(KERNELS)),
            None => store,
        }
    }

    /// The programs that are started, the host's own and those unpacked beside them.
    pub fn tools(&self) -> Tools {
        let tools = Tools::new(self.data.join(TOOLS));
        match &self.outer {
            Some(outer) => tools.over(&outer.join(TOOLS)),
            None => tools,
        }
    }

    /// The sandboxes' folder.
    pub fn sandboxes(&self) -> PathBuf {
        self.data.join("sandboxes")
    }

    /// The volumes' folder.
    pub(crate) fn volumes(&self) -> PathBuf {
        self.data.join("volumes")
    }

    /// The folder of ready-made empty disks.
    pub(crate) fn disks(&self) -> PathBuf {
        self.data.join(DISKS)
    }

    /// Where a lent file of this name is, relative to a data folder, if there is one.
    pub(crate) fn lent(&self, name: &Path) -> Option<PathBuf> {
        let path = self.outer.as_ref()?.join(name);
        path.exists().then_some(path)
    }
}

fn create(path: &Path, mode: u32) -> Result<(), Error> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| Error::Create {
        path: path.to_owned(),
        source,
    })
}

fn own(path: &Path, uid: u32) -> Result<(), Error> {
    let failed = |source| Error::Create {
        path: path.to_owned(),
        source,
    };
    let owner = fs::symlink_metadata(path).map_err(failed)?.uid();
    if owner == uid {
        Ok(())
    } else {
        Err(Error::Foreign {
            path: path.to_owned(),
            owner,
        })
    }
}

#[cfg(test)]
#[path = "paths_test.rs"]
mod tests;
