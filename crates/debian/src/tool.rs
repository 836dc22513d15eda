//! Programs that Cenote starts (QEMU, passt): the host's own, or Debian's unpacked beside the host.
//!
//! An unpacked tool is a folder `<name>-<version>` with `bin/`, `lib/` (the loader and every library that the program
//! names, directly or not), `share/` and `tool.json`. It runs through its own loader, so it depends on nothing of the
//! host but the Linux kernel. The folder appears by rename, complete, and is never changed afterwards.

mod assemble;
mod host;

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::source::Source;
use crate::version;
use crate::{AptRoot, Deb, Lock, RELEASE, archive, deb};
use assemble::assemble;

const RECORD: &str = "tool.json";

/// A program that Cenote needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The machine emulator `qemu-system-x86_64`, version 10 or newer: older ones break nested guests.
    Qemu,
    /// User-mode networking.
    Passt,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Qemu, Self::Passt];

    /// The program's file name.
    #[must_use]
    pub fn program(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86_64",
            Self::Passt => "passt",
        }
    }

    /// The Debian package that holds it.
    #[must_use]
    pub fn package(self) -> &'static str {
        match self {
            Self::Qemu => "qemu-system-x86",
            Self::Passt => "passt",
        }
    }

    /// The oldest version that works; `None` if any does.
    #[must_use]
    pub fn minimum(self) -> Option<&'static str> {
        match self {
            Self::Qemu => Some("10"),
            Self::Passt => None,
        }
    }

    /// Files that the program reads, beyond libraries: path in the package's closure.
    fn data(self) -> &'static [&'static str] {
        match self {
            // Firmware for direct boot on q35; option ROMs of network cards and other machines are left out.
            Self::Qemu => &[
                "usr/share/seabios/bios-256k.bin",
                "usr/share/qemu/kvmvapic.bin",
                "usr/share/qemu/linuxboot_dma.bin",
                "usr/share/qemu/pvh.bin",
            ],
            Self::Passt => &[],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qemu => "qemu",
            Self::Passt => "passt",
        })
    }
}

/// Why a tool cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither the host nor Cenote's folder has it.
    #[error("{} is needed: run `cenote tools install {kind}`{}", kind.program(), found.as_ref().map(|version| format!(" (this system has version {version}, which is too old)")).unwrap_or_default())]
    Missing {
        /// The tool.
        kind: Kind,
        /// The version of a host's program that is too old.
        found: Option<String>,
    },
    /// No such tool is installed.
    #[error("no tool {0} is installed; `cenote tools ls` lists those that are")]
    NotInstalled(String),
    /// The archive gave no packages.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// The given files do not include the tool's own package.
    #[error("none of the given packages is {package}, which holds {}", kind.program())]
    NoPackage {
        /// The tool.
        kind: Kind,
        /// The missing package.
        package: &'static str,
    },
    /// A file is in none of the packages.
    #[error(
        "{needed_by} needs {file}, which none of the packages holds; give all packages that {needed_by} depends on"
    )]
    NoFile {
        /// What needs it.
        needed_by: String,
        /// The missing program, library or data file.
        file: String,
    },
    /// The program was unpacked and does not run, or is not what it should be.
    #[error("{program} does not run here: {said}")]
    DoesNotRun {
        /// The program.
        program: String,
        /// What it or the system said.
        said: String,
    },
    /// The folder's path cannot be given to a loader.
    #[error("tools cannot be kept in {}: a loader's search path cannot hold a colon or a semicolon", .0.display())]
    Path(PathBuf),
    /// A record of an installed tool cannot be read.
    #[error("{} is damaged; remove its folder and install the tool again", path.display())]
    Record {
        /// The record.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
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

/// A program that can be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tool {
    /// Which it is.
    pub kind: Kind,
    /// Its version: the program's own (host) or its Debian package's without the epoch (unpacked).
    pub version: String,
    /// The program's file.
    pub program: PathBuf,
    /// Its own loader and library folder, if it is unpacked beside the host.
    pub private: Option<Private>,
}

/// What an unpacked program brings along.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Private {
    /// The tool's folder.
    pub folder: PathBuf,
    /// The dynamic loader.
    pub loader: PathBuf,
    /// Where every library is.
    pub library_path: PathBuf,
}

impl Tool {
    /// A command that starts the program; arguments are to be added.
    #[must_use]
    pub fn command(&self) -> Command {
        let Some(private) = &self.private else {
            return Command::new(&self.program);
        };
        let mut command = Command::new(&private.loader);
        command
            .arg("--inhibit-cache")
            .arg("--library-path")
            .arg(&private.library_path);
        command
            .arg("--argv0")
            .arg(self.kind.program())
            .arg(&self.program);
        // Libraries that the user has preloaded belong to the host's libc.
        command
            .env_remove("LD_PRELOAD")
            .env_remove("LD_LIBRARY_PATH");
        if self.kind == Kind::Qemu {
            command.arg("-L").arg(private.folder.join("share"));
        }
        command
    }
}

/// What `tool.json` says.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    kind: Kind,
    version: String,
    loader: String,
    /// `name=version` of every package that was unpacked.
    packages: Vec<String>,
}

/// The folder of unpacked tools, and the host's PATH.
#[derive(Debug, Clone)]
pub struct Tools {
    folder: PathBuf,
    /// The folder of tools that the level above lends, which is only read.
    outer: Option<PathBuf>,
}

impl Tools {
    /// Tools in `folder`, which need not exist.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            outer: None,
        }
    }

    /// These tools and those in the folder `outer`, which only somebody else changes.
    #[must_use]
    pub fn over(self, outer: &Path) -> Self {
        Self {
            outer: Some(outer.to_owned()),
            ..self
        }
    }

    /// The tool to use: the newest unpacked one, else one that is lent, else the host's if it is new enough.
    ///
    /// # Errors
    /// [`Error::Missing`] names the remedy.
    pub fn find(&self, kind: Kind) -> Result<Tool, Error> {
        let unpacked = self.unpacked()?.into_iter().find(|tool| tool.kind == kind);
        unpacked.map_or_else(|| host::find(kind), Ok)
    }

    /// All unpacked tools, the newest of each kind first, lent ones, then the host's usable ones.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn list(&self) -> Result<Vec<Tool>, Error> {
        let mut tools = self.unpacked()?;
        tools.extend(
            Kind::ALL
                .into_iter()
                .filter_map(|kind| host::find(kind).ok()),
        );
        Ok(tools)
    }

    /// Unpacks the newest version of each of `kinds` that `source` has. One that is there already is kept.
    ///
    /// # Errors
    /// When the packages cannot be had or used; nothing is left behind then.
    pub fn install(&self, kinds: &[Kind], source: &Source) -> Result<Vec<Tool>, Error> {
        if self
            .folder
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .any(|byte| matches!(byte, b':' | b';'))
        {
            return Err(Error::Path(self.folder.clone()));
        }
        let io = |source| Error::Io {
            path: self.folder.clone(),
            source,
        };
        let lock = Lock::take(&self.folder).map_err(io)?;
        let scratch = lock.temporary().map_err(io)?;
        let apt = match source {
            Source::Archive(archive) => Some(AptRoot::open(archive, &[RELEASE], scratch.path())?),
            Source::Files(_) => None,
        };
        let mut tools = Vec::new();
        for kind in kinds {
            let files = match (&apt, source) {
                (Some(apt), _) => {
                    let candidate = apt.candidate(kind.package())?;
                    let version = version::without_epoch(&candidate);
                    if let Some(tool) = self
                        .installed()?
                        .into_iter()
                        .find(|tool| tool.kind == *kind && tool.version == version)
                    {
                        tools.push(tool);
                        continue;
                    }
                    apt.closure(&[kind.package()])?
                }
                (None, Source::Files(files)) => files.clone(),
                (None, Source::Archive(_)) => unreachable!("an archive has been opened"),
            };
            tools.push(self.unpack(*kind, &files, &lock)?);
        }
        Ok(tools)
    }

    /// Removes the unpacked tool `name`, as [`Tools::list`] shows it: kind and version joined by `-`.
    ///
    /// # Errors
    /// When there is none or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let io = |source| Error::Io {
            path: self.folder.clone(),
            source,
        };
        let lock = Lock::take(&self.folder).map_err(io)?;
        let tool = self
            .installed()?
            .into_iter()
            .find(|tool| folder_name(tool.kind, &tool.version) == name);
        let tool = tool.ok_or_else(|| Error::NotInstalled(name.to_owned()))?;
        lock.remove(&folder_name(tool.kind, &tool.version))
            .map_err(io)
    }

    fn unpack(&self, kind: Kind, files: &[PathBuf], lock: &Lock) -> Result<Tool, Error> {
        let io = |source| Error::Io {
            path: self.folder.clone(),
            source,
        };
        let scratch = lock.temporary().map_err(io)?;
        let (root, new) = (scratch.path().join("root"), scratch.path().join("tool"));
        fs::create_dir(&root).map_err(io)?;
        let mut packages = Vec::new();
        let mut version = None;
        for file in files {
            let deb = Deb::open(file)?;
            deb.unpack(&root, |path| is_needed(kind, path))?;
            packages.push(format!("{}={}", deb.package, deb.version));
            if deb.package == kind.package() {
                version = Some(version::without_epoch(&deb.version).to_owned());
            }
        }
        let version = version.ok_or(Error::NoPackage {
            kind,
            package: kind.package(),
        })?;
        let name = folder_name(kind, &version);
        if self.folder.join(&name).exists() {
            return read(&self.folder.join(&name));
        }
        let loader = assemble(kind, &root, &new)?;
        let record = Record {
            kind,
            version,
            loader,
            packages,
        };
        let path = new.join(RECORD);
        let json = serde_json::to_vec_pretty(&record).map_err(|source| Error::Record {
            path: path.clone(),
            source,
        })?;
        fs::write(&path, json).map_err(|source| Error::Io { path, source })?;
        host::start(&read(&new)?)?;
        read(&lock.publish(&new, &name).map_err(io)?)
    }

    fn installed(&self) -> Result<Vec<Tool>, Error> {
        tools_in(&self.folder)
    }

    /// The tools that need nothing of the host: its own, then those that are lent.
    fn unpacked(&self) -> Result<Vec<Tool>, Error> {
        let mut tools = self.installed()?;
        if let Some(outer) = &self.outer {
            tools.extend(tools_in(outer)?);
        }
        Ok(tools)
    }
}

fn tools_in(folder: &Path) -> Result<Vec<Tool>, Error> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(io)?,
    };
    let mut tools = Vec::new();
    for entry in entries {
        let entry = entry.map_err(io)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            tools.push(read(&entry.path())?);
        }
    }
    tools.sort_by(|a, b| {
        a.kind
            .to_string()
            .cmp(&b.kind.to_string())
            .then_with(|| version::compare(&b.version, &a.version))
    });
    Ok(tools)
}

fn folder_name(kind: Kind, version: &str) -> String {
    format!("{kind}-{version}")
}

/// Programs and libraries are where Debian's policy puts them; documentation, configuration and the rest stay packed.
fn is_needed(kind: Kind, path: &Path) -> bool {
    let libraries = ["lib", "lib64", "usr/lib", "usr/lib64"];
    path == Path::new("usr/bin").join(kind.program())
        || kind.data().iter().any(|data| path == Path::new(data))
        || (libraries.iter().any(|folder| path.starts_with(folder)) && is_library(path))
}

/// A shared library, or a link by which one is found. Directories are made with their files.
fn is_library(path: &Path) -> bool {
    path.file_name().is_some_and(|name| {
        let name = name.to_string_lossy();
        name.ends_with(".so") || name.contains(".so.")
    })
}

fn read(folder: &Path) -> Result<Tool, Error> {
    let path = folder.join(RECORD);
    let json = fs::read(&path).map_err(|source| Error::Io {
        path: path.clone(),
        source,
    })?;
    let record: Record =
        serde_json::from_slice(&json).map_err(|source| Error::Record { path, source })?;
    let library_path = folder.join("lib");
    let private = Private {
        folder: folder.to_owned(),
        loader: library_path.join(&record.loader),
        library_path,
    };
    let program = folder.join("bin").join(record.kind.program());
    Ok(Tool {
        kind: record.kind,
        version: record.version,
        program,
        private: Some(private),
    })
}

/// The name of a library, program or data file, for messages.
fn display(name: impl Into<OsString>) -> String {
    name.into().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;
