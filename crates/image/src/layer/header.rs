//! The header block of a tar archive (POSIX.1-1988 ustar, GNU), and the limits for what headers announce.

use super::tar::until_nul;
use super::tar_error::TarError;

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

pub(super) const NAME: Field = field("name", 0, 100);
pub(super) const MODE: Field = field("mode", 100, 8);
pub(super) const UID: Field = field("uid", 108, 8);
pub(super) const GID: Field = field("gid", 116, 8);
pub(super) const SIZE: Field = field("size", 124, 12);
pub(super) const MTIME: Field = field("mtime", 136, 12);
const CHECKSUM: Field = field("chksum", 148, 8);
const TYPEFLAG: usize = 156;
pub(super) const LINKNAME: Field = field("linkname", 157, 100);
const MAGIC: Field = field("magic", 257, 6);
pub(super) const DEVMAJOR: Field = field("devmajor", 329, 8);
pub(super) const DEVMINOR: Field = field("devminor", 337, 8);
const PREFIX: Field = field("prefix", 345, 155);

/// A header block and its place in the archive.
pub(super) struct Header<'a> {
    pub(super) offset: u64,
    pub(super) block: &'a [u8; BLOCK],
}

impl Header<'_> {
    pub(super) fn kind(&self) -> u8 {
        self.block[TYPEFLAG]
    }

    pub(super) fn bytes(&self, field: Field) -> &[u8] {
        &self.block[field.start..field.start + field.length]
    }

    pub(super) fn text(&self, field: Field) -> Vec<u8> {
        until_nul(self.bytes(field).to_vec())
    }

    /// The name with the prefix that only POSIX headers have; GNU headers keep times and sparse maps in its place.
    pub(super) fn path(&self) -> Vec<u8> {
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
    pub(super) fn check(&self) -> Result<(), TarError> {
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

    pub(super) fn number32(&self, field: Field) -> Result<u32, TarError> {
        u32::try_from(self.signed(field)?).map_err(|_| self.bad(field))
    }

    pub(super) fn signed(&self, field: Field) -> Result<i64, TarError> {
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
