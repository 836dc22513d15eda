//! One `.deb` file, deb(5): an `ar` archive of `debian-binary`, a control and a data archive.
//!
//! A file may be anyone's (`--deb FILE`), so it is read as hostile input: sizes, names and links are checked, what it
//! unpacks to is bounded, and nothing is written outside the target folder. Maintainer scripts are never run.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::ar;
use crate::tree::{Inside, Tree};

/// The control archive holds a few text files and scripts.
const MAX_CONTROL: u64 = 16 << 20;
/// No package that we unpack comes near this; a decompression bomb does.
const MAX_DATA: u64 = 4 << 30;
/// Debian's largest packages have some tens of thousands of entries.
const MAX_ENTRIES: usize = 200_000;
/// PATH_MAX: a longer name cannot be used anyway.
const MAX_NAME: u64 = 4096;
/// dpkg-deb's strongest setting (`xz -9`) needs 65 MiB to decompress.
const XZ_MEMORY: u64 = 128 << 20;

/// What can be wrong with a `.deb` file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened or read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The package file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not a Debian package, or it is damaged.
    #[error("{} is not an intact Debian package: {what}; download it again", path.display())]
    Damaged {
        /// The package file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It holds something that no package of this kind holds, or is beyond a limit.
    #[error("{} is refused: {what}", path.display())]
    Refused {
        /// The package file.
        path: PathBuf,
        /// What is refused.
        what: String,
    },
    /// A file of it cannot be written.
    #[error("cannot unpack {} of {}", name.display(), path.display())]
    Write {
        /// The package file.
        path: PathBuf,
        /// The entry.
        name: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// An opened package.
#[derive(Debug)]
pub struct Deb {
    path: PathBuf,
    data: ar::Member,
    /// The package's name.
    pub package: String,
    /// Its version, with epoch and revision.
    pub version: String,
    /// Debian's name of the machine it is for; `all` for any.
    pub architecture: String,
}

impl Deb {
    /// Opens `path` and reads its control fields.
    ///
    /// # Errors
    /// When it cannot be read or is not a Debian package.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let damaged = |what: &str| Error::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
        };
        let mut file = File::open(path).map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
        let members = ar::members(&mut file).map_err(|error| damaged(&error.to_string()))?;
        if members
            .first()
            .is_none_or(|first| first.name != "debian-binary")
        {
            return Err(damaged("its first member is not debian-binary"));
        }
        let find = |prefix: &str| {
            members
                .iter()
                .find(|member| member.name.starts_with(prefix))
                .cloned()
        };
        let control = find("control.tar").ok_or_else(|| damaged("it has no control.tar"))?;
        let data = find("data.tar").ok_or_else(|| damaged("it has no data.tar"))?;
        let text = control_file(path, file, &control)?;
        let field = |name: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value
                .map(|value| value.trim().to_owned())
                .ok_or_else(|| damaged(&format!("it has no {name} field")))
        };
        Ok(Self {
            package: field("Package")?,
            version: field("Version")?,
            architecture: field("Architecture")?,
            data,
            path: path.to_owned(),
        })
    }

    /// Unpacks the entries for which `wanted` holds (given the path inside the package, without a leading slash) into
    /// the existing folder `target`, over what earlier packages put there.
    ///
    /// # Errors
    /// When the package is damaged, holds a device or a name that leaves the folder, goes beyond a limit, or a file
    /// cannot be written. What was unpacked until then stays: unpack into a temporary folder.
    pub fn unpack(&self, target: &Path, wanted: impl Fn(&Path) -> bool) -> Result<(), Error> {
        let tree = Tree::open(target).map_err(|source| Error::Write {
            path: self.path.clone(),
            name: target.to_owned(),
            source,
        })?;
        let file = File::open(&self.path).map_err(|source| Error::Read {
            path: self.path.clone(),
            source,
        })?;
        let mut archive = tar::Archive::new(decompress(&self.path, file, &self.data, MAX_DATA)?);
        walk(&self.path, &mut archive, |entry, name, link| {
            if name.path().as_os_str().is_empty() || !wanted(name.path()) {
                return Ok(());
            }
            let refused = |what: String| Error::Refused {
                path: self.path.clone(),
                what,
            };
            let written = match entry.header().entry_type() {
                EntryType::Directory => tree.directory(&name),
                EntryType::Regular | EntryType::Continuous => {
                    let executable = entry.header().mode().is_ok_and(|mode| mode & 0o100 != 0);
                    tree.file(&name, executable, entry).map(drop)
                }
                EntryType::Symlink => tree.symlink(&name, &link),
                EntryType::Link => {
                    let existing = Inside::new(&link)
                        .ok_or_else(|| refused(format!("a hard link to {}", link.display())))?;
                    if !wanted(existing.path()) {
                        return Err(refused(format!(
                            "{} is a hard link to a file that is left out",
                            name.path().display()
                        )));
                    }
                    tree.hard_link(&name, &existing)
                }
                other => {
                    return Err(refused(format!(
                        "{} is neither file, directory nor link ({other:?})",
                        name.path().display()
                    )));
                }
            };
            written.map_err(|source| Error::Write {
                path: self.path.clone(),
                name: name.path().to_owned(),
                source,
            })
        })
    }
}

/// The text of `control` in the control archive.
fn control_file(path: &Path, file: File, member: &ar::Member) -> Result<String, Error> {
    let mut archive = tar::Archive::new(decompress(path, file, member, MAX_CONTROL)?);
    let mut text = None;
    walk(path, &mut archive, |entry, name, _| {
        if name.path() == Path::new("control") {
            let mut content = String::new();
            entry
                .read_to_string(&mut content)
                .map_err(|source| damaged(path, &source))?;
            text = Some(content);
        }
        Ok(())
    })?;
    text.ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        what: "it has no control file".to_owned(),
    })
}

/// Visits each entry with its checked name and its link target, after joining GNU long names.
///
/// dpkg-deb writes GNU tar and dpkg refuses pax headers; so do we. The raw iterator is used because the ordinary one
/// holds a long name of any size in memory.
fn walk<R: Read>(
    path: &Path,
    archive: &mut tar::Archive<R>,
    mut visit: impl FnMut(&mut tar::Entry<'_, R>, Inside, PathBuf) -> Result<(), Error>,
) -> Result<(), Error> {
    let refused = |what: String| Error::Refused {
        path: path.to_owned(),
        what,
    };
    let (mut long_name, mut long_link) = (None, None);
    let entries = archive
        .entries()
        .map_err(|source| damaged(path, &source))?
        .raw(true);
    for (count, entry) in entries.enumerate() {
        if count == MAX_ENTRIES {
            return Err(refused(format!("it has more than {MAX_ENTRIES} entries")));
        }
        let mut entry = entry.map_err(|source| damaged(path, &source))?;
        match entry.header().entry_type() {
            EntryType::GNULongName => {
                long_name = Some(long(path, &mut entry)?);
                continue;
            }
            EntryType::GNULongLink => {
                long_link = Some(long(path, &mut entry)?);
                continue;
            }
            _ => {}
        }
        let name = match long_name.take() {
            Some(name) => name,
            None => entry
                .header()
                .path()
                .map_err(|source| damaged(path, &source))?
                .into_owned(),
        };
        let link = match long_link.take() {
            Some(link) => link,
            None => entry
                .header()
                .link_name()
                .map_err(|source| damaged(path, &source))?
                .unwrap_or_default()
                .into_owned(),
        };
        let inside = Inside::new(&name)
            .ok_or_else(|| refused(format!("the name {} leads out of it", name.display())))?;
        visit(&mut entry, inside, link)?;
    }
    Ok(())
}

fn long<R: Read>(path: &Path, entry: &mut tar::Entry<'_, R>) -> Result<PathBuf, Error> {
    let mut bytes = Vec::new();
    entry
        .take(MAX_NAME + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| damaged(path, &source))?;
    if bytes.len() as u64 > MAX_NAME {
        return Err(Error::Refused {
            path: path.to_owned(),
            what: format!("a name is longer than {MAX_NAME} bytes"),
        });
    }
    bytes.truncate(
        bytes
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(bytes.len()),
    );
    Ok(OsString::from_vec(bytes).into())
}

/// The bytes of a compressed tar member, at most `limit` of them.
fn decompress(
    path: &Path,
    mut file: File,
    member: &ar::Member,
    limit: u64,
) -> Result<impl Read, Error> {
    let damaged = |source: io::Error| damaged(path, &source);
    file.seek(SeekFrom::Start(member.offset)).map_err(damaged)?;
    let raw = io::BufReader::new(file.take(member.size));
    let content: Box<dyn Read> = match member.name.rsplit_once(".tar").map(|(_, kind)| kind) {
        Some("") => Box::new(raw),
        Some(".gz") => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
        Some(".zst") => Box::new(zstd::Decoder::with_buffer(raw).map_err(damaged)?),
        Some(".xz") => {
            let stream = liblzma::stream::Stream::new_stream_decoder(
                XZ_MEMORY,
                liblzma::stream::CONCATENATED,
            );
            Box::new(liblzma::bufread::XzDecoder::new_stream(
                raw,
                stream.map_err(|error| damaged(error.into()))?,
            ))
        }
        _ => {
            return Err(Error::Refused {
                path: path.to_owned(),
                what: format!("{} has an unknown compression", member.name),
            });
        }
    };
    Ok(Limited {
        content,
        left: limit,
    })
}

fn damaged(path: &Path, source: &io::Error) -> Error {
    Error::Damaged {
        path: path.to_owned(),
        what: source.to_string(),
    }
}

/// A reader that fails, instead of ending, when its source is longer than the limit.
struct Limited<R> {
    content: R,
    left: u64,
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::other("it unpacks to more than any such package"))?;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "deb_test.rs"]
mod tests;
