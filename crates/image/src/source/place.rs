//! A folder, or a tar archive used like one: files by name, readable by several threads at once.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::tar::{Archive, Kind};
use crate::layer::{LayerError, TarError, Unsupported};
use crate::manifest::MAX_DOCUMENT;

/// Why an OCI layout or an archive of images cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file that must be there is not.
    #[error("{} has no `{name}`, which it needs to have", place.display())]
    Missing {
        /// The folder or archive.
        place: PathBuf,
        /// The file in it.
        name: String,
    },
    /// It is neither an OCI layout nor what `docker save` writes.
    #[error("{} is neither an OCI image layout nor a docker archive; a root file system's archive goes to `cenote import`", .0.display())]
    Neither(PathBuf),
    /// The archive itself is broken.
    #[error("{}: {source}", place.display())]
    Tar {
        /// The archive.
        place: PathBuf,
        /// What is wrong with it.
        source: TarError,
    },
    /// The archive is compressed in a way that cannot be undone.
    #[error("{}: {source}", place.display())]
    Compression {
        /// The archive.
        place: PathBuf,
        /// Which way.
        source: Unsupported,
    },
    /// The archive unpacks to more than is accepted.
    #[error("{}: {source}", place.display())]
    Limit {
        /// The archive.
        place: PathBuf,
        /// Which limit.
        source: LayerError,
    },
    /// The archive has more files than images have.
    #[error("{} has more than {MAX_FILES} files; is it an archive of images?", .0.display())]
    TooManyFiles(PathBuf),
    /// A file that names images is malformed.
    #[error("`{name}` in {} is malformed: {source}", place.display())]
    Json {
        /// The folder or archive.
        place: PathBuf,
        /// The file in it.
        name: String,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// A file that is read into memory is too long.
    #[error("`{name}` in {} is longer than {MAX_DOCUMENT} bytes", place.display())]
    TooLong {
        /// The folder or archive.
        place: PathBuf,
        /// The file in it.
        name: String,
    },
    /// A layout of a version that is not known.
    #[error("{} is an OCI layout of version `{version}`; only 1.0.0 is known", place.display())]
    Version {
        /// The folder or archive.
        place: PathBuf,
        /// The version in it.
        version: String,
    },
    /// There is no image of that name in it.
    #[error("{} has no image `{name}`; it has {offered}", place.display())]
    NoImage {
        /// The folder or archive.
        place: PathBuf,
        /// What was asked for.
        name: String,
        /// What it has.
        offered: String,
    },
    /// A docker archive names its files in a way that leads out of it.
    #[error("the docker archive {} names the file `{name}`, which leads out of it", place.display())]
    Escape {
        /// The archive.
        place: PathBuf,
        /// The name.
        name: String,
    },
}

/// An image has some 10 to 130 files; an archive may hold hundreds of images.
const MAX_FILES: usize = 50_000;

/// Where the files are.
pub(super) struct Place {
    /// For messages, and for the names of images that have none.
    pub(super) path: PathBuf,
    files: Files,
}

enum Files {
    Folder,
    Archive {
        archive: File,
        index: HashMap<Vec<u8>, Found>,
    },
}

#[derive(Clone)]
enum Found {
    /// Where its bytes are in the archive.
    File { offset: u64, size: u64 },
    /// Another name in the archive, relative to the folder of this one: old `docker save` does so with equal layers.
    Symlink(Vec<u8>),
    /// Another name in the archive.
    HardLink(Vec<u8>),
}

/// Links to links to links are no archive of images.
const MAX_LINKS: usize = 4;

impl Place {
    pub(super) fn folder(path: &Path) -> Place {
        Place {
            path: path.to_owned(),
            files: Files::Folder,
        }
    }

    /// Finds the files of a plain tar archive without reading their data. `path` is what messages call it.
    pub(super) fn archive(path: &Path, mut archive: File) -> Result<Place> {
        let index = index(path, &mut archive)?;
        Ok(Place {
            path: path.to_owned(),
            files: Files::Archive { archive, index },
        })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        match &self.files {
            Files::Folder => self.path.join(name).is_file(),
            Files::Archive { index, .. } => index.contains_key(name.as_bytes()),
        }
    }

    /// A file's bytes, and how many there are.
    pub(super) fn open(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        match &self.files {
            Files::Folder => self.open_in_folder(name),
            Files::Archive { archive, index } => {
                let (offset, size) = self.find(index, name)?;
                let slice = Slice {
                    file: archive,
                    offset,
                    end: offset + size,
                };
                Ok((Box::new(slice), size))
            }
        }
    }

    fn open_in_folder(&self, name: &str) -> Result<(Box<dyn Read + Send + '_>, u64)> {
        let path = self.path.join(name);
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(self.missing(name)),
            Err(error) => return Err(Error::io("read", &path)(error)),
        };
        // A named pipe would keep us waiting.
        if !metadata.is_file() {
            return Err(self.missing(name));
        }
        let file = File::open(&path).map_err(Error::io("read", &path))?;
        Ok((Box::new(file), metadata.len()))
    }

    /// A whole file of at most 4 MiB.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let (file, _) = self.open(name)?;
        let mut bytes = Vec::new();
        file.take(MAX_DOCUMENT + 1)
            .read_to_end(&mut bytes)
            .map_err(Error::io("read", &self.path.join(name)))?;
        match bytes.len() as u64 > MAX_DOCUMENT {
            true => Err(ArchiveError::TooLong {
                place: self.path.clone(),
                name: name.to_owned(),
            }
            .into()),
            false => Ok(bytes),
        }
    }

    pub(super) fn json<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T> {
        let json =
            serde_json::from_slice(&self.read(name)?).map_err(|source| ArchiveError::Json {
                place: self.path.clone(),
                name: name.to_owned(),
                source,
            })?;
        Ok(json)
    }

    fn find(&self, index: &HashMap<Vec<u8>, Found>, name: &str) -> Result<(u64, u64)> {
        let mut current = name.as_bytes().to_vec();
        for _ in 0..MAX_LINKS {
            current = match index.get(&current) {
                Some(Found::File { offset, size }) => return Ok((*offset, *size)),
                Some(Found::HardLink(target)) => target.clone(),
                Some(Found::Symlink(target)) => {
                    let folder = current
                        .iter()
                        .rposition(|byte| *byte == b'/')
                        .map_or(0, |slash| slash + 1);
                    normalise(&[&current[..folder], target].concat())
                        .ok_or_else(|| self.escape(name))?
                }
                None => return Err(self.missing(name)),
            }
        }
        Err(self.missing(name))
    }

    fn missing(&self, name: &str) -> Error {
        Error::Archive(ArchiveError::Missing {
            place: self.path.clone(),
            name: name.to_owned(),
        })
    }

    pub(super) fn escape(&self, name: &str) -> Error {
        Error::Archive(ArchiveError::Escape {
            place: self.path.clone(),
            name: name.to_owned(),
        })
    }
}

/// The name of a blob in an OCI layout.
pub(super) fn blob_name(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Without `.` and empty parts, with `..` resolved; `None` if that leads out.
pub(super) fn normalise(name: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
}

fn index(path: &Path, file: &mut File) -> Result<HashMap<Vec<u8>, Found>> {
    let tar_error = |source| ArchiveError::Tar {
        place: path.to_owned(),
        source,
    };
    let length = file
        .seek(SeekFrom::End(0))
        .map_err(Error::io("read", path))?;
    let mut index = HashMap::new();
    let mut header = 0;
    loop {
        file.seek(SeekFrom::Start(header))
            .map_err(Error::io("read", path))?;
        let mut archive = Archive::new(&mut *file);
        let Some(entry) = archive.next_entry().map_err(tar_error)? else {
            return Ok(index);
        };
        let offset = header + archive.position();
        let found = match entry.kind {
            Kind::File { size } if length - offset < size => {
                return Err(tar_error(TarError::Truncated(length)).into());
            }
            Kind::File { size } => Some(Found::File { offset, size }),
            Kind::Symlink(target) => Some(Found::Symlink(target)),
            Kind::HardLink(target) => normalise(&target).map(Found::HardLink),
            _ => None,
        };
        header = offset + archive.unread();
        if index.len() == MAX_FILES {
            return Err(ArchiveError::TooManyFiles(path.to_owned()).into());
        }
        if let (Some(found), Some(name)) = (found, normalise(&entry.path)) {
            index.insert(name, found);
        }
    }
}

/// Some bytes of a file that others read, too.
struct Slice<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl Read for Slice<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX);
        let wanted = rest.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..wanted], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
