//! A private apt: its own sources, lists, cache and an empty dpkg status, under one temporary folder.
//!
//! apt checks what it downloads: the suite's `InRelease` against the keyring named in `signed-by`, the package index
//! against the release file, each package against the index. Nothing here weakens that (no `trusted=yes`, no
//! `--allow-unauthenticated`), and since every root starts without lists, no older list can stand in for a refused one.
//!
//! The dpkg status is empty, so a package's closure is everything it needs, down to libc and the loader.

mod apt;
mod mirror;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::source::{Archive, KEYRING};
use apt::Apt;

/// Why packages cannot be had from the archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no apt here.
    #[error(
        "there is no apt-get on this system to fetch Debian packages with; download the packages elsewhere and give them with --deb FILE"
    )]
    NoApt,
    /// The host's apt configuration names no Debian mirror.
    #[error("this system's apt configuration names no Debian mirror; give one with --mirror URI")]
    NoMirror,
    /// The keyring is missing.
    #[error("Debian's archive keys are not at {}; install the package debian-archive-keyring or give the file with --keyring FILE", .0.display())]
    NoKeyring(PathBuf),
    /// A value cannot stand in apt's configuration.
    #[error(
        "the {what} {value:?} cannot be used with apt: it holds a space, a quote, a bracket or a control character"
    )]
    Unusable {
        /// What the value is.
        what: &'static str,
        /// The value.
        value: String,
    },
    /// The signature is missing, broken or by another key.
    #[error("the archive at {mirror} is not validly signed by a key of {}; nothing was taken from it. apt said: {said}", keyring.display())]
    Signature {
        /// The mirror.
        mirror: String,
        /// Whose signature was expected.
        keyring: PathBuf,
        /// apt's words.
        said: String,
    },
    /// The signed release file is past its date: an old state of the archive is being served.
    #[error(
        "the archive at {mirror} is out of date; check this machine's clock, or give another mirror with --mirror URI. apt said: {said}"
    )]
    Expired {
        /// The mirror.
        mirror: String,
        /// apt's words.
        said: String,
    },
    /// A file is not the one whose checksum was signed.
    #[error(
        "the mirror {mirror} served a file that does not have its signed checksum; try again later or give another mirror with --mirror URI. apt said: {said}"
    )]
    Mismatch {
        /// The mirror.
        mirror: String,
        /// apt's words.
        said: String,
    },
    /// The mirror has no such suite.
    #[error(
        "the mirror {mirror} has no suite {suites}; give a complete Debian mirror with --mirror URI. apt said: {said}"
    )]
    NoSuite {
        /// The mirror.
        mirror: String,
        /// The suites that were asked for.
        suites: String,
        /// apt's words.
        said: String,
    },
    /// The mirror does not answer.
    #[error(
        "the mirror {mirror} cannot be reached; check the network and the proxy settings, or give the packages with --deb FILE. apt said: {said}"
    )]
    Unreachable {
        /// The mirror.
        mirror: String,
        /// apt's words.
        said: String,
    },
    /// No package of this name.
    #[error("the suites {suites} have no package {package}")]
    NoPackage {
        /// The suites that were searched.
        suites: String,
        /// The package.
        package: String,
    },
    /// apt failed in another way.
    #[error("{command} failed: {said}")]
    Apt {
        /// The command.
        command: String,
        /// apt's words.
        said: String,
    },
    /// The private root cannot be made or read.
    #[error("cannot use {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A private apt root over some suites, with its lists fetched and checked.
#[derive(Debug)]
pub struct AptRoot {
    apt: Apt,
    suites: String,
    folder: TempDir,
}

impl AptRoot {
    /// Makes a root in a temporary folder inside `scratch`, for `suites` (for example `trixie`, `trixie-backports`) of
    /// Debian's component main, and fetches their lists. The last suite is preferred.
    ///
    /// # Errors
    /// See [`Error`]; nothing is left in `scratch` then.
    pub fn open(archive: &Archive, suites: &[&str], scratch: &Path) -> Result<Self, Error> {
        let keyring = archive
            .keyring
            .clone()
            .unwrap_or_else(|| PathBuf::from(KEYRING));
        if !keyring.is_file() {
            return Err(Error::NoKeyring(keyring));
        }
        let mirror = match &archive.mirror {
            Some(mirror) => mirror.clone(),
            None => mirror::of_host()?,
        };
        let folder = tempfile::Builder::new()
            .prefix("apt-")
            .tempdir_in(scratch)
            .map_err(|source| Error::Io {
                path: scratch.to_owned(),
                source,
            })?;
        let sources = sources(&mirror, &keyring, suites)?;
        let apt = Apt::new(
            folder.path(),
            &sources,
            suites.last().copied(),
            mirror,
            keyring,
        )?;
        let root = Self {
            apt,
            suites: suites.join(", "),
            folder,
        };
        root.apt.run("apt-get", ["update"], &root.suites)?;
        Ok(root)
    }

    /// The names of all packages that match `pattern`, a POSIX extended regular expression.
    ///
    /// # Errors
    /// When apt fails.
    pub fn search(&self, pattern: &str) -> Result<Vec<String>, Error> {
        let found = self.apt.run(
            "apt-cache",
            ["search", "--names-only", pattern],
            &self.suites,
        )?;
        Ok(found
            .lines()
            .filter_map(|line| line.split_once(" - "))
            .map(|(name, _)| name.to_owned())
            .collect())
    }

    /// The version of `package` that would be fetched.
    ///
    /// # Errors
    /// When there is none, or apt fails.
    pub fn candidate(&self, package: &str) -> Result<String, Error> {
        let policy = self
            .apt
            .run("apt-cache", ["policy", package], &self.suites)?;
        let version = policy
            .lines()
            .find_map(|line| line.trim().strip_prefix("Candidate: "));
        match version {
            Some(version) if version != "(none)" => Ok(version.to_owned()),
            _ => Err(Error::NoPackage {
                suites: self.suites.clone(),
                package: package.to_owned(),
            }),
        }
    }

    /// Fetches `packages` alone. The files live as long as this root.
    ///
    /// # Errors
    /// When one does not exist or cannot be fetched intact.
    pub fn download(&self, packages: &[&str]) -> Result<Vec<PathBuf>, Error> {
        let into = self.folder.path().join("download");
        fs::create_dir_all(&into).map_err(|source| Error::Io {
            path: into.clone(),
            source,
        })?;
        self.apt.run_in(
            &into,
            "apt-get",
            ["download"].iter().chain(packages),
            &self.suites,
        )?;
        debs(&into)
    }

    /// Fetches `packages` and everything that they depend on, without recommendations. The files live as long as this
    /// root.
    ///
    /// # Errors
    /// When one does not exist or cannot be fetched intact.
    pub fn closure(&self, packages: &[&str]) -> Result<Vec<PathBuf>, Error> {
        let into = self.apt.archives();
        let arguments = [
            "install",
            "--download-only",
            "--no-install-recommends",
            "--yes",
        ];
        self.apt.run("apt-get", ["clean"], &self.suites)?;
        self.apt
            .run("apt-get", arguments.iter().chain(packages), &self.suites)?;
        debs(&into)
    }
}

/// A one-line-style sources.list(5).
fn sources(mirror: &str, keyring: &Path, suites: &[&str]) -> Result<String, Error> {
    let check = |what, value: &str| {
        let bad = |c: char| {
            c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '[' | ']' | '\\')
        };
        if value.is_empty() || value.contains(bad) {
            Err(Error::Unusable {
                what,
                value: value.to_owned(),
            })
        } else {
            Ok(())
        }
    };
    check("mirror", mirror)?;
    // apt leaves packages of a `file:` mirror where they are; with `copy:` they arrive like all others.
    let copied = mirror
        .strip_prefix("file:")
        .map(|path| format!("copy:{path}"));
    let mirror = copied.as_deref().unwrap_or(mirror);
    let keyring = keyring.to_string_lossy();
    check("keyring", &keyring)?;
    let mut lines = String::new();
    for suite in suites {
        check("suite", suite)?;
        lines += &format!(
            "deb [arch={} signed-by={keyring}] {mirror} {suite} main\n",
            apt::ARCHITECTURE
        );
    }
    Ok(lines)
}

fn debs(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io {
        path: folder.to_owned(),
        source,
    };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
