//! A streaming reader of tar archives (POSIX.1-2001 pax, ustar, GNU, v7), made for input from strangers.
//!
//! It yields one [`Entry`] after the other with everything that an OCI layer can say about it; extension headers are folded into the
//! entry that they describe. Where formats leave a choice it does what Go's `archive/tar` does, the reader behind most
//! tools that write and unpack layers: global pax headers are ignored, a size on an entry that has no data is ignored.

use std::io::{self, Read};

use cenote_erofs::Timestamp;

use super::header::*;
use super::pax::{self, Records};
use super::sparse::{self, Extent};
use super::tar_error::{EndOfArchive, TarError};

/// One file, directory, link or node of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name exactly as in the archive: not normalised, not checked against escapes.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits including set-user-id, set-group-id and sticky.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Extended attributes in the archive's order, names complete with their namespace.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file whose `size` bytes follow.
    File {
        /// Its length in bytes.
        size: u64,
    },
    /// A regular file with holes; the bytes of its extents follow back to back.
    Sparse {
        /// Its length in bytes, holes included.
        size: u64,
        /// The parts that have data, ascending and apart.
        extents: Vec<Extent>,
    },
    /// A directory.
    Directory,
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// Another name of an earlier entry.
    HardLink(Vec<u8>),
    /// A character device's major and minor number.
    Character(u32, u32),
    /// A block device's major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// The archive as a sequence of entries.
pub struct Archive<R> {
    input: R,
    /// Bytes consumed so far.
    position: u64,
    /// Bytes of the current entry's data that have not been read.
    remaining: u64,
    /// Zeros behind the current entry's data, up to the next block.
    padding: u64,
    end_mark: bool,
}

impl<R: Read> Archive<R> {
    /// Reads an archive from `input`, which is best buffered: headers are read in blocks of 512 bytes.
    pub fn new(input: R) -> Archive<R> {
        Archive {
            input,
            position: 0,
            remaining: 0,
            padding: 0,
            end_mark: false,
        }
    }

    /// The next entry, or `None` behind the last one. Data of the entry before that was not read is skipped.
    pub fn next_entry(&mut self) -> Result<Option<Entry>, TarError> {
        let mut pax = Records::default();
        let mut long_path = None;
        let mut long_target = None;
        loop {
            let (offset, block) = match self.next_header()? {
                Some(header) => header,
                None if pax.is_empty() && long_path.is_none() && long_target.is_none() => {
                    return Ok(None);
                }
                None => return Err(TarError::Truncated(self.position)),
            };
            let header = Header {
                offset,
                block: &block,
            };
            match header.kind() {
                b'x' => pax = pax::parse(&self.extension(&header)?, offset)?,
                b'L' => long_path = Some(until_nul(self.extension(&header)?)),
                b'K' => long_target = Some(until_nul(self.extension(&header)?)),
                b'g' => self.set_data(header.number(SIZE)?, offset)?,
                _ => return self.entry(&header, pax, long_path, long_target).map(Some),
            }
        }
    }

    /// The data of the current entry; at its end, reading returns 0. An archive that ends earlier is an
    /// [`io::ErrorKind::UnexpectedEof`].
    pub fn data(&mut self) -> impl Read + '_ {
        Data { archive: self }
    }

    /// Whether the two blocks of zeros were there that end an archive. Meaningful behind the last entry.
    pub fn has_end_mark(&self) -> bool {
        self.end_mark
    }

    /// Bytes between here and the next header.
    pub fn unread(&self) -> u64 {
        self.remaining + self.padding
    }

    /// Bytes of the current entry's data that have not been read.
    pub(super) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// How many bytes of the archive have been consumed.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The stream behind the archive, for what follows its end mark.
    pub fn into_inner(self) -> R {
        self.input
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        pax: Records,
        long_path: Option<Vec<u8>>,
        long_target: Option<Vec<u8>>,
    ) -> Result<Entry, TarError> {
        let offset = header.offset;
        let path = pax.path.or(long_path).unwrap_or_else(|| header.path());
        let path = checked_name(path, "name", offset)?;
        let stored = match pax.size {
            Some(size) => size,
            None => header.number(SIZE)?,
        };
        let target = || {
            let target = pax
                .linkpath
                .or(long_target)
                .unwrap_or_else(|| header.text(LINKNAME));
            checked_name(target, "link target", offset)
        };
        let device = || -> Result<(u32, u32), TarError> {
            Ok((header.number32(DEVMAJOR)?, header.number32(DEVMINOR)?))
        };
        let mut data = 0;
        let kind = match header.kind() {
            // Old archives have no type for directories. What data they claim to have is there all the same.
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => {
                data = stored;
                Kind::Directory
            }
            b'0' | b'\0' | b'7' => {
                data = stored;
                Kind::File { size: stored }
            }
            b'S' => {
                data = stored;
                let (size, extents) = sparse::from_old_gnu(header, || self.block(), stored)?;
                Kind::Sparse { size, extents }
            }
            b'1' => Kind::HardLink(target()?),
            b'2' => Kind::Symlink(target()?),
            b'3' => device().map(|(major, minor)| Kind::Character(major, minor))?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor))?,
            b'5' => Kind::Directory,
            b'6' => Kind::Fifo,
            kind => return Err(TarError::UnknownType { offset, kind }),
        };
        self.set_data(data, offset)?;
        let kind = match (kind, pax.sparse) {
            (Kind::File { .. }, Some(map)) => {
                let (size, extents) = sparse::from_pax(map, self, offset)?;
                Kind::Sparse { size, extents }
            }
            (kind, _) => kind,
        };
        Ok(Entry {
            path,
            kind,
            mode: (header.number(MODE)? & 0o7777) as u16,
            uid: pax.uid.map_or_else(|| header.number32(UID), Ok)?,
            gid: pax.gid.map_or_else(|| header.number32(GID), Ok)?,
            mtime: match pax.mtime {
                Some(mtime) => mtime,
                None => Timestamp {
                    seconds: header.signed(MTIME)?,
                    nanoseconds: 0,
                },
            },
            xattrs: pax.xattrs,
        })
    }

    /// Skips to the next header. `None` at the end mark or where the stream ends between entries.
    fn next_header(&mut self) -> Result<Option<(u64, [u8; BLOCK])>, TarError> {
        self.skip_data()?;
        let offset = self.position;
        let Some(block) = self.block_or_end()? else {
            return Ok(None);
        };
        if block != [0; BLOCK] {
            Header {
                offset,
                block: &block,
            }
            .check()?;
            return Ok(Some((offset, block)));
        }
        match self.block_or_end()? {
            Some(second) if second == [0; BLOCK] => {
                self.end_mark = true;
                Ok(None)
            }
            Some(_) => Err(TarError::Checksum(offset)),
            None => Ok(None),
        }
    }

    fn set_data(&mut self, size: u64, offset: u64) -> Result<(), TarError> {
        let too_large = TarError::Number {
            offset,
            field: SIZE.name,
        };
        // Offsets in files are signed in Linux.
        if i64::try_from(size).is_err() {
            return Err(too_large);
        }
        self.remaining = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_data(&mut self) -> Result<(), TarError> {
        let skip = self.remaining + self.padding;
        let skipped =
            io::copy(&mut (&mut self.input).take(skip), &mut io::sink()).map_err(TarError::Read)?;
        self.position += skipped;
        (self.remaining, self.padding) = (0, 0);
        match skipped == skip {
            true => Ok(()),
            false => Err(TarError::Truncated(self.position)),
        }
    }

    /// The data of an extension header.
    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>, TarError> {
        let size = header.number(SIZE)?;
        if size > MAX_EXTENSION {
            return Err(TarError::TooLong {
                offset: header.offset,
                what: "extension header",
                size,
                limit: MAX_EXTENSION,
            });
        }
        self.set_data(size, header.offset)?;
        let mut data = Vec::new();
        self.data()
            .read_to_end(&mut data)
            .map_err(TarError::from_read)?;
        Ok(data)
    }

    /// A block that must be there.
    fn block(&mut self) -> Result<[u8; BLOCK], TarError> {
        self.block_or_end()?
            .ok_or(TarError::Truncated(self.position))
    }

    /// A block, or `None` if the stream ends in front of it.
    fn block_or_end(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.input.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(TarError::Read(error)),
            }
        }
        self.position += filled as u64;
        match filled {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(TarError::Truncated(self.position)),
        }
    }
}

struct Data<'a, R> {
    archive: &'a mut Archive<R>,
}

impl<R: Read> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let archive = &mut *self.archive;
        if archive.remaining == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let wanted =
            usize::try_from(archive.remaining).map_or(buffer.len(), |rest| rest.min(buffer.len()));
        let count = archive.input.read(&mut buffer[..wanted])?;
        if count == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                EndOfArchive(archive.position),
            ));
        }
        archive.remaining -= count as u64;
        archive.position += count as u64;
        Ok(count)
    }
}

pub(super) fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn checked_name(name: Vec<u8>, what: &'static str, offset: u64) -> Result<Vec<u8>, TarError> {
    if name.len() > MAX_PATH {
        return Err(TarError::TooLong {
            offset,
            what,
            size: name.len() as u64,
            limit: MAX_PATH as u64,
        });
    }
    match name.is_empty() || name.contains(&0) {
        true => Err(TarError::Name { offset, what }),
        false => Ok(name),
    }
}

#[cfg(test)]
#[path = "tar_test.rs"]
mod tests;
