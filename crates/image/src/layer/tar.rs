//! A streaming reader of tar archives (POSIX.1-2001 pax, ustar, GNU, v7), made for input from strangers.
//!
//! It yields one [`Entry`] after the other with everything that an OCI layer can say about it; extension headers are folded into the
//! entry that they describe. Where formats leave a choice it does what Go's `archive/tar` does, the reader behind most
//! tools that write and unpack layers: global pax headers are ignored, a size on an entry that has no data is ignored.

use std::io::{self, Read};

use cenote_erofs::Timestamp;

use super::pax::{self, Records};
use super::sparse::{self, Extent};

/// The unit of a tar archive.
pub(super) const BLOCK: usize = 512;

/// Longest path or link target: Linux' PATH_MAX, without the NUL.
pub const MAX_PATH: usize = 4095;
/// Largest extension header. Linux allows 64 KiB for one xattr's value; this leaves room for a dozen of them.
pub(super) const MAX_EXTENSION: u64 = 1 << 20;
/// Longest xattr name (XATTR_NAME_MAX).
pub(super) const MAX_XATTR_NAME: usize = 255;
/// Longest xattr value (XATTR_SIZE_MAX).
pub(super) const MAX_XATTR_VALUE: usize = 64 << 10;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream itself failed: the network, the disk, or the compression around the archive.
    #[error("cannot read the archive: {0}")]
    Read(#[source] io::Error),
    /// The stream ends inside of an entry, or without the two blocks of zeros that end an archive.
    #[error(
        "the archive is truncated: it ends at byte {0}, inside of an entry or before its end mark"
    )]
    Truncated(u64),
    /// A block that should be a header is none: its checksum is wrong.
    #[error("no tar header at byte {0}: its checksum is wrong")]
    Checksum(u64),
    /// A number in a header is neither octal nor base-256, or too large.
    #[error("the tar header at byte {offset} has a bad number in the field `{field}`")]
    Number {
        /// Where the header starts in the archive.
        offset: u64,
        /// The field's name in POSIX or GNU tar.
        field: &'static str,
    },
    /// A pax extension record is malformed.
    #[error("the pax header at byte {offset} is malformed: {problem}")]
    Pax {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The map of a sparse file is malformed.
    #[error("the sparse file at byte {offset} has a bad map: {problem}")]
    Sparse {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name, target, xattr or extension header is longer than Linux allows.
    #[error("the tar header at byte {offset} has a {what} of {size} bytes, longer than {limit}")]
    TooLong {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is too long.
        what: &'static str,
        /// How long it is, in bytes.
        size: u64,
        /// How long it may be, in bytes.
        limit: u64,
    },
    /// A name or a link target is empty where there must be one, or contains a NUL.
    #[error("the tar header at byte {offset} has an empty {what} or a NUL in it")]
    Name {
        /// Where the header starts in the archive.
        offset: u64,
        /// Which name is wrong.
        what: &'static str,
    },
    /// An entry of a type that no layer can contain (a multi-volume part, a sparse index, a vendor's own).
    #[error("the tar header at byte {offset} has the unknown entry type `{}`", char::from(*.kind).escape_default())]
    UnknownType {
        /// Where the header starts in the archive.
        offset: u64,
        /// The type flag.
        kind: u8,
    },
}

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
            b'0' | b'\0' | b'7' if path.ends_with(b"/") => Kind::Directory,
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

impl TarError {
    /// Tells the end of the stream from other failures of reading entry data.
    pub(super) fn from_read(error: io::Error) -> TarError {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<EndOfArchive>())
        {
            Some(EndOfArchive(position)) => TarError::Truncated(*position),
            None => TarError::Read(error),
        }
    }
}

/// Inside of an [`io::Error`]: the archive ended in the middle of an entry's data.
#[derive(Debug, thiserror::Error)]
#[error("the archive ends at byte {0}, inside of an entry")]
struct EndOfArchive(u64);

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

/// A field of a header block.
#[derive(Clone, Copy)]
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) start: usize,
    pub(super) length: usize,
}

const fn field(name: &'static str, start: usize, length: usize) -> Field {
    Field {
        name,
        start,
        length,
    }
}

const NAME: Field = field("name", 0, 100);
const MODE: Field = field("mode", 100, 8);
const UID: Field = field("uid", 108, 8);
const GID: Field = field("gid", 116, 8);
const SIZE: Field = field("size", 124, 12);
const MTIME: Field = field("mtime", 136, 12);
const CHECKSUM: Field = field("chksum", 148, 8);
const TYPEFLAG: usize = 156;
const LINKNAME: Field = field("linkname", 157, 100);
const MAGIC: Field = field("magic", 257, 6);
const DEVMAJOR: Field = field("devmajor", 329, 8);
const DEVMINOR: Field = field("devminor", 337, 8);
const PREFIX: Field = field("prefix", 345, 155);

/// A header block and its place in the archive.
pub(super) struct Header<'a> {
    pub(super) offset: u64,
    pub(super) block: &'a [u8; BLOCK],
}

impl Header<'_> {
    fn kind(&self) -> u8 {
        self.block[TYPEFLAG]
    }

    pub(super) fn bytes(&self, field: Field) -> &[u8] {
        &self.block[field.start..field.start + field.length]
    }

    fn text(&self, field: Field) -> Vec<u8> {
        until_nul(self.bytes(field).to_vec())
    }

    /// The name with the prefix that only POSIX headers have; GNU headers keep times and sparse maps in its place.
    fn path(&self) -> Vec<u8> {
        let name = self.text(NAME);
        let prefix = match self.bytes(MAGIC) == b"ustar\0" {
            true => self.text(PREFIX),
            false => Vec::new(),
        };
        match prefix.is_empty() {
            true => name,
            false => [&prefix[..], b"/", &name].concat(),
        }
    }

    /// Compares the checksum: the sum of all bytes with the checksum itself as spaces. Old writers summed signed bytes.
    fn check(&self) -> Result<(), TarError> {
        let checksum = CHECKSUM.start..CHECKSUM.start + CHECKSUM.length;
        let bytes = || {
            let outside = |(position, byte): (usize, &u8)| match checksum.contains(&position) {
                true => b' ',
                false => *byte,
            };
            self.block.iter().enumerate().map(outside)
        };
        let unsigned: i64 = bytes().map(i64::from).sum();
        let signed: i64 = bytes().map(|byte| i64::from(byte as i8)).sum();
        match self.signed(CHECKSUM) {
            Ok(sum) if sum == unsigned || sum == signed => Ok(()),
            _ => Err(TarError::Checksum(self.offset)),
        }
    }

    pub(super) fn number(&self, field: Field) -> Result<u64, TarError> {
        u64::try_from(self.signed(field)?).map_err(|_| self.bad(field))
    }

    fn number32(&self, field: Field) -> Result<u32, TarError> {
        u32::try_from(self.signed(field)?).map_err(|_| self.bad(field))
    }

    fn signed(&self, field: Field) -> Result<i64, TarError> {
        parse_number(self.bytes(field)).ok_or_else(|| self.bad(field))
    }

    fn bad(&self, field: Field) -> TarError {
        TarError::Number {
            offset: self.offset,
            field: field.name,
        }
    }
}

/// Octal digits with spaces or NULs around them (empty is 0), or GNU's base-256: a set top bit, then a big-endian number in
/// two's complement.
pub(super) fn parse_number(bytes: &[u8]) -> Option<i64> {
    let (&first, rest) = bytes.split_first()?;
    if first & 0x80 != 0 {
        let start = match first & 0x40 {
            0 => i64::from(first & 0x3f),
            _ => i64::from(first as i8),
        };
        return rest.iter().try_fold(start, |value, byte| {
            Some(value.checked_mul(256)? + i64::from(*byte))
        });
    }
    let text = bytes
        .split(|byte| *byte == 0)
        .find(|part| !part.is_empty())
        .unwrap_or(b"");
    let digits = text.trim_ascii();
    digits.iter().try_fold(0_i64, |value, digit| match digit {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(i64::from(digit - b'0')),
        _ => None,
    })
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
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
