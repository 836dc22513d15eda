//! The folder of installed kernels.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cenote_debian::{Lock, version};
use object::read::ReadCache;
use serde::{Deserialize, Serialize};

use crate::module::Group;
use crate::vmlinux;

pub(crate) const RECORD: &str = "kernel.json";
pub(crate) const VMLINUX: &str = "vmlinux";
pub(crate) const MODULES: &str = "modules";
/// The folder of files that are made from kernels of another level.
const LENT: &str = ".lent";

/// Why a kernel cannot be listed, chosen, used or removed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kernel is installed.
    #[error(
        "no guest kernel is installed: run `cenote kernel install` for Debian's, or `cenote kernel build` for one that boots faster"
    )]
    None,
    /// The named kernel is not installed.
    #[error("no guest kernel {0} is installed; `cenote kernel ls` lists those that are")]
    Unknown(String),
    /// The kernel is not this store's own.
    #[error(
        "the guest kernel {0} is lent by the level above this machine and cannot be removed here"
    )]
    Lent(String),
    /// What is there is no kernel that can be started.
    #[error(
        "the guest kernel {version} cannot be started: {source}; remove it (`cenote kernel rm {version}`) and install it again"
    )]
    Unusable {
        /// The kernel.
        version: String,
        /// What is wrong with it.
        source: vmlinux::Error,
    },
    /// A kernel's record is missing or says nothing.
    #[error(
        "the guest kernel {name} is damaged, its {} cannot be read; remove it (`cenote kernel rm {name}`) and install or build it again", path.display()
    )]
    Damaged {
        /// The name of the kernel's folder.
        name: String,
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// An earlier Cenote has installed it, without modules that are needed now.
    #[error(
        "the kernel {version} was installed without the modules of the group {group:?}; \
         run `cenote kernel rm {version}`, then `cenote kernel install`"
    )]
    Lacks {
        /// The kernel.
        version: String,
        /// What it lacks.
        group: Group,
    },
    /// A file or folder cannot be used.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}

/// An installed kernel, taken from a distribution or built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Kernel {
    /// Its release, as `uname -r` prints it in the guest.
    pub version: String,
    /// The Debian packages that it was taken or built from, `name=version`.
    pub packages: Vec<String>,
    /// Its folder.
    pub folder: PathBuf,
    /// The uncompressed ELF file, with a PVH entry point.
    pub vmlinux: PathBuf,
    /// SHA-256 of `vmlinux`, in hexadecimal.
    pub sha256: String,
    /// Its modules, in load order; a built kernel has none.
    pub modules: Vec<Module>,
    /// Where files that are made from it are kept: its folder, unless that is lent.
    #[serde(skip)]
    pub cache: PathBuf,
    /// How it was built; `None` for a distribution's kernel.
    pub built: Option<Built>,
}

/// How a kernel was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Built {
    /// SHA-256 of everything that went in, in hexadecimal.
    pub inputs: String,
    /// What the compiler and the linker call themselves, a line each.
    pub compiler: String,
    /// When, in seconds since 1970.
    pub at: u64,
}

impl Kernel {
    /// Looks at the file that will be started, since a damaged one would say nothing at all, and for the modules of
    /// `groups`, unless everything is built in.
    ///
    /// # Errors
    /// [`Error::Unusable`], [`Error::Lacks`] and [`Error::Io`].
    pub fn check(&self, groups: &[Group]) -> Result<(), Error> {
        let has = |group: &Group| self.modules.iter().any(|module| module.group == *group);
        if !self.modules.is_empty()
            && let Some(&group) = groups.iter().find(|group| !has(group))
        {
            return Err(Error::Lacks {
                version: self.version.clone(),
                group,
            });
        }
        let file = fs::File::open(&self.vmlinux).map_err(Error::io(&self.vmlinux))?;
        vmlinux::check(&ReadCache::new(file)).map_err(|source| Error::Unusable {
            version: self.version.clone(),
            source,
        })
    }
}

/// A module of an installed kernel, decompressed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Module {
    /// Its name as `lsmod` prints it.
    pub name: String,
    /// What it is for.
    pub group: Group,
    /// The file.
    pub path: PathBuf,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// What `kernel.json` says; paths follow from it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) version: String,
    pub(crate) packages: Vec<String>,
    pub(crate) sha256: String,
    pub(crate) modules: Vec<ModuleRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) built: Option<Built>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ModuleRecord {
    pub(crate) name: String,
    pub(crate) group: Group,
    pub(crate) sha256: String,
}

/// A module's file name: its place in the load order and its name.
pub(crate) fn module_file(place: usize, name: &str) -> String {
    format!("{place:02}-{name}.ko")
}

/// The installed kernels. Entries appear complete, by rename, and do not change; so reading takes no lock.
#[derive(Debug, Clone)]
pub struct Store {
    folder: PathBuf,
    /// The folder of kernels that the level above lends, which is only read.
    outer: Option<PathBuf>,
}

impl Store {
    /// The store in `folder`, which need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            outer: None,
        }
    }

    /// This store and the kernels in the folder `outer`, which only somebody else changes.
    #[must_use]
    pub fn over(self, outer: &Path) -> Self {
        Self {
            outer: Some(outer.to_owned()),
            ..self
        }
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All installed kernels: built ones, the last built first, then a distribution's, the newest release first.
    /// [`Store::damaged`] has those that are left out.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Kernel>, Error> {
        Ok(self.read_all()?.0)
    }

    /// An [`Error::Damaged`] for each kernel that has no readable record.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn damaged(&self) -> Result<Vec<Error>, Error> {
        Ok(self.read_all()?.1)
    }

    fn read_all(&self) -> Result<(Vec<Kernel>, Vec<Error>), Error> {
        let (mut kernels, mut damaged) = read_all(&self.folder)?;
        if let Some(outer) = &self.outer {
            let (lent, damaged_there) = read_all(outer)?;
            for kernel in lent {
                if kernels.iter().all(|own| own.version != kernel.version) {
                    let cache = self.folder.join(LENT);
                    kernels.push(Kernel { cache, ..kernel });
                }
            }
            damaged.extend(damaged_there);
        }
        let built = |kernel: &Kernel| kernel.built.as_ref().map(|built| built.at);
        kernels.sort_by(|a, b| {
            built(b)
                .cmp(&built(a))
                .then_with(|| version::compare(&b.version, &a.version))
        });
        Ok((kernels, damaged))
    }

    /// The kernel of the given version, or the first of [`Store::list`].
    ///
    /// # Errors
    /// [`Error::None`], [`Error::Unknown`] and [`Error::Damaged`] name the remedy.
    pub fn choose(&self, name: Option<&str>) -> Result<Kernel, Error> {
        let (kernels, damaged) = self.read_all()?;
        let wanted = |version: &str| name.is_none_or(|name| name == version);
        if let Some(kernel) = kernels.into_iter().find(|kernel| wanted(&kernel.version)) {
            return Ok(kernel);
        }
        let damaged = damaged
            .into_iter()
            .find(|error| matches!(error, Error::Damaged { name, .. } if wanted(name)));
        Err(match (damaged, name) {
            (Some(damaged), _) => damaged,
            (None, Some(name)) => Error::Unknown(name.to_owned()),
            (None, None) => Error::None,
        })
    }

    /// Removes a kernel, also a damaged one. A machine that runs it goes on.
    ///
    /// # Errors
    /// When there is none of this name or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let lock = Lock::take(&self.folder).map_err(Error::io(&self.folder))?;
        let (name, folder) = match self.choose(Some(name)) {
            Ok(kernel) => (kernel.version, kernel.folder),
            Err(Error::Damaged { name, .. }) => {
                let own = self.folder.join(&name);
                (name, own)
            }
            Err(error) => return Err(error),
        };
        if !folder.starts_with(&self.folder) || !folder.exists() {
            return Err(Error::Lent(name));
        }
        lock.remove(&name).map_err(Error::io(folder))
    }
}

/// The kernels in `store`, and those that are damaged.
fn read_all(store: &Path) -> Result<(Vec<Kernel>, Vec<Error>), Error> {
    let (mut kernels, mut damaged) = (Vec::new(), Vec::new());
    for folder in folders(store)? {
        match read(&folder) {
            Ok(kernel) => kernels.push(kernel),
            Err(error) => damaged.push(error),
        }
    }
    Ok((kernels, damaged))
}

/// The folders of the kernels in `store`.
fn folders(store: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = match fs::read_dir(store) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(Error::io(store))?,
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io(store))?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            folders.push(entry.path());
        }
    }
    Ok(folders)
}

impl Kernel {
    /// What its files occupy, in bytes.
    ///
    /// # Errors
    /// When its folder cannot be read.
    pub fn size(&self) -> Result<u64, Error> {
        let sizes = [&self.folder, &self.folder.join(MODULES)].map(|folder| size(folder));
        let [files, modules] = sizes.map(|size| size.map_err(Error::io(&self.folder)));
        Ok(files? + modules?)
    }
}

/// What the files right in `folder` occupy; nothing if there is no such folder.
fn size(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        entries => entries?,
    };
    let mut sum = 0;
    for entry in entries {
        // Links are followed: a folder may be made of links to a shared kernel's files.
        let file = fs::metadata(entry?.path())?;
        if file.is_file() {
            sum += file.len();
        }
    }
    Ok(sum)
}

/// Reads the kernel in `folder`.
pub(crate) fn read(folder: &Path) -> Result<Kernel, Error> {
    let path = folder.join(RECORD);
    let record = fs::read(&path).and_then(|json| Ok(serde_json::from_slice::<Record>(&json)?));
    let record = record.map_err(|source| Error::Damaged {
        name: folder
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned(),
        path,
        source,
    })?;
    let modules = record
        .modules
        .into_iter()
        .enumerate()
        .map(|(place, module)| Module {
            path: folder.join(MODULES).join(module_file(place, &module.name)),
            name: module.name,
            group: module.group,
            sha256: module.sha256,
        });
    Ok(Kernel {
        version: record.version,
        packages: record.packages,
        folder: folder.to_owned(),
        vmlinux: folder.join(VMLINUX),
        sha256: record.sha256,
        modules: modules.collect(),
        cache: folder.to_owned(),
        built: record.built,
    })
}

#[cfg(test)]
mod tests;
