//! Pax extended headers (POSIX.1-2001, `pax`, "pax Extended Header"), with the keywords that GNU tar and star added.

use cenote_erofs::Timestamp;

use super::header::{MAX_XATTR_NAME, MAX_XATTR_VALUE};
use super::sparse::PaxMap;
use super::tar_error::TarError;

const XATTR: &[u8] = b"SCHILY.xattr.";
const SPARSE: &[u8] = b"GNU.sparse.";
/// More xattrs than this on one file fit no file system.
const MAX_XATTRS: usize = 1024;

/// What the records of one extended header override in the header that follows.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) linkpath: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<PaxMap>,
    any: bool,
}

impl Records {
    /// Whether there was no extended header at all.
    pub(super) fn is_empty(&self) -> bool {
        !self.any
    }

    fn set(&mut self, key: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        if let Some(name) = key.strip_prefix(XATTR) {
            return self.set_xattr(name, value, offset);
        }
        if let Some(keyword) = key.strip_prefix(SPARSE) {
            if keyword == b"name" {
                self.path = Some(value.to_vec());
                return Ok(());
            }
            return self
                .sparse
                .get_or_insert_default()
                .set(keyword, value, offset);
        }
        // An empty value takes an override back; the header's own field counts again.
        let given = !value.is_empty();
        let bad = |problem| TarError::Pax { offset, problem };
        match key {
            // A sparse file's pax `path` is a made-up name; GNU.sparse.name is the real one.
            b"path" if self.sparse.is_some() && self.path.is_some() => {}
            b"path" => self.path = given.then(|| value.to_vec()),
            b"linkpath" => self.linkpath = given.then(|| value.to_vec()),
            b"size" => self.size = optional(value, decimal).ok_or(bad("size is no number"))?,
            b"uid" => {
                self.uid = optional(value, decimal32).ok_or(bad("uid is no 32-bit number"))?
            }
            b"gid" => {
                self.gid = optional(value, decimal32).ok_or(bad("gid is no 32-bit number"))?
            }
            b"mtime" => self.mtime = optional(value, timestamp).ok_or(bad("mtime is no time"))?,
            _ => {}
        }
        Ok(())
    }

    fn set_xattr(&mut self, name: &[u8], value: &[u8], offset: u64) -> Result<(), TarError> {
        let too_long = |what, size: usize, limit: usize| TarError::TooLong {
            offset,
            what,
            size: size as u64,
            limit: limit as u64,
        };
        if name.is_empty() || name.contains(&0) {
            return Err(TarError::Name {
                offset,
                what: "xattr name",
            });
        }
        if name.len() > MAX_XATTR_NAME {
            return Err(too_long("xattr name", name.len(), MAX_XATTR_NAME));
        }
        if value.len() > MAX_XATTR_VALUE {
            return Err(too_long("xattr value", value.len(), MAX_XATTR_VALUE));
        }
        self.xattrs.retain(|(known, _)| known != name);
        if self.xattrs.len() == MAX_XATTRS {
            return Err(TarError::Pax {
                offset,
                problem: "more than 1024 xattrs",
            });
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Parses the data of an extended header that starts at `offset` in the archive: records of `length key=value\n`, where the
/// length counts itself. Values are binary: they may contain newlines.
pub(super) fn parse(mut data: &[u8], offset: u64) -> Result<Records, TarError> {
    let mut records = Records {
        any: true,
        ..Records::default()
    };
    while !data.is_empty() {
        let (record, rest) = split_record(data).ok_or(TarError::Pax {
            offset,
            problem: "a record's length does not match its end",
        })?;
        let separator = record
            .iter()
            .position(|byte| *byte == b'=')
            .ok_or(TarError::Pax {
                offset,
                problem: "a record has no `=`",
            })?;
        records.set(&record[..separator], &record[separator + 1..], offset)?;
        data = rest;
    }
    Ok(records)
}

/// The first record without its length and newline, and what follows it.
fn split_record(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let space = data.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?;
    Some((record.strip_suffix(b"\n")?, &data[length..]))
}

fn optional<T>(value: &[u8], parse: impl Fn(&[u8]) -> Option<T>) -> Option<Option<T>> {
    match value.is_empty() {
        true => Some(None),
        false => parse(value).map(Some),
    }
}

pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    match all_digits {
        true => std::str::from_utf8(digits).ok()?.parse().ok(),
        false => None,
    }
}

fn decimal32(digits: &[u8]) -> Option<u32> {
    decimal(digits)?.try_into().ok()
}

/// Seconds since the epoch with an optional sign and fraction. Digits beyond nanoseconds are cut off towards the past, so
/// that a time before the epoch keeps its order.
fn timestamp(text: &[u8]) -> Option<Timestamp> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let whole = i64::try_from(decimal(whole)?).ok()?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        nanoseconds =
            nanoseconds * 10 + u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    }
    let cut_off = fraction.iter().skip(9).any(|digit| *digit != b'0');
    match negative {
        false => Some(Timestamp {
            seconds: whole,
            nanoseconds,
        }),
        true => {
            let nanoseconds = nanoseconds + u32::from(cut_off);
            Some(match nanoseconds {
                0 => Timestamp {
                    seconds: -whole,
                    nanoseconds,
                },
                _ => Timestamp {
                    seconds: -whole - 1,
                    nanoseconds: 1_000_000_000 - nanoseconds,
                },
            })
        }
    }
}
