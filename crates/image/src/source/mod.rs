//! Where images come from: a registry, an OCI layout, an archive.

pub(crate) mod assemble;
mod docker_archive;
mod layout;
mod load;
mod place;
mod spool;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::reference::{Reference, ReferenceError};

pub use place::ArchiveError;

/// A place that an image can be taken from, written with the transport names of skopeo and podman.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `[docker://]REFERENCE`
    Registry(Reference),
    /// `oci:FOLDER[:NAME]`: an OCI image layout, all of its images or the one that is annotated with the name.
    OciLayout {
        /// The folder with `oci-layout` in it.
        folder: PathBuf,
        /// Which image.
        name: Option<String>,
    },
    /// `oci-archive:FILE[:NAME]`: a tar archive of an OCI image layout.
    OciArchive {
        /// The archive, compressed or not.
        file: PathBuf,
        /// Which image.
        name: Option<String>,
    },
    /// `docker-archive:FILE[:NAME]`: what `docker save` writes.
    DockerArchive {
        /// The archive, compressed or not.
        file: PathBuf,
        /// Which image.
        name: Option<String>,
    },
    /// A file that is one of the two kinds of archive.
    Archive(PathBuf),
    /// One of the two kinds of archive on standard input.
    StandardInput,
}

/// Why a text names no [`Source`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It is no reference either.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A place that only other tools can reach.
    #[error(
        "`{0}` images are not supported; use oci:, oci-archive:, docker-archive: or a registry's reference"
    )]
    Transport(String),
    /// Nothing after the colon.
    #[error("`{0}` names no file or folder")]
    NoPath(String),
}

/// Transports of containers/image that have no meaning without the program that they belong to.
const FOREIGN: [&str; 6] = [
    "containers-storage",
    "dir",
    "docker-daemon",
    "ostree",
    "sif",
    "tarball",
];

impl Source {
    /// What `load` is to make of a path: a folder is a layout, a file is an archive of either kind.
    pub fn from_path(path: &Path) -> Source {
        match path.is_dir() {
            true => Source::OciLayout {
                folder: path.to_owned(),
                name: None,
            },
            false => Source::Archive(path.to_owned()),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Source, SourceError> {
        let Some((transport, rest)) = text.split_once(':') else {
            return Ok(Source::Registry(text.parse()?));
        };
        let place = || match rest.split_once(':') {
            _ if rest.is_empty() || rest.starts_with(':') => {
                Err(SourceError::NoPath(text.to_owned()))
            }
            Some((path, name)) => Ok((path.into(), Some(name.to_owned()))),
            None => Ok((rest.into(), None)),
        };
        match transport {
            "oci" => place().map(|(folder, name)| Source::OciLayout { folder, name }),
            "oci-archive" => place().map(|(file, name)| Source::OciArchive { file, name }),
            "docker-archive" => place().map(|(file, name)| Source::DockerArchive { file, name }),
            "docker" if rest.starts_with("//") => Ok(Source::Registry(rest[2..].parse()?)),
            // `dir:latest` is an image called `dir`; a path says that the folder is meant.
            foreign if FOREIGN.contains(&foreign) && rest.contains('/') => {
                Err(SourceError::Transport(foreign.to_owned()))
            }
            _ => Ok(Source::Registry(text.parse()?)),
        }
    }
}

#[cfg(test)]
#[path = "source_test.rs"]
mod tests;
