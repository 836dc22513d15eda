//! Maps of sparse files in tar archives: GNU's old format and its pax formats 0.0, 0.1 and 1.0 (GNU tar manual, "Storing
//! Sparse Files").

use std::io::{ErrorKind, Read};

use super::header::{BLOCK, Field, Header, parse_number};
use super::pax::decimal;
use super::tar::Archive;
use super::tar_error::TarError;

/// A part of a file that has data: its offset in the file and its length, in bytes.
pub type Extent = (u64, u64);

/// More parts than this make a map larger than the memory a layer may take.
const MAX_EXTENTS: usize = 1 << 20;
/// In a header block: four pairs of offset and length, a flag that more follow, and the file's length.
const OLD_MAP: usize = 386;
const OLD_PAIRS: usize = 4;
const OLD_EXTENDED: usize = 482;
const REAL_SIZE: Field = Field {
    name: "realsize",
    start: 483,
    length: 12,
};
/// In each block that follows: 21 pairs and the flag.
const EXTENSION_PAIRS: usize = 21;
const EXTENSION_EXTENDED: usize = 504;
/// The length of a pair's half.
const NUMBER: usize = 12;

/// What the records of a pax header say about a sparse file.
#[derive(Debug, Default)]
pub(super) struct PaxMap {
    major: u64,
    minor: u64,
    size: Option<u64>,
    /// Offsets and lengths by turns.
    numbers: Vec<u64>,
}

impl PaxMap {
    pub(super) fn set(
        &mut self,
        keyword: &[u8],
        value: &[u8],
        offset: u64,
    ) -> Result<(), TarError> {
        let number = |text| decimal(text).ok_or(bad(offset, "a value is no number"));
        match keyword {
            b"major" => self.major = number(value)?,
            b"minor" => self.minor = number(value)?,
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"offset" | b"numbytes" => self.push(number(value)?, offset)?,
            b"map" => {
                for text in value
                    .split(|byte| *byte == b',')
                    .filter(|text| !text.is_empty())
                {
                    self.push(number(text)?, offset)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn push(&mut self, number: u64, offset: u64) -> Result<(), TarError> {
        if self.numbers.len() == 2 * MAX_EXTENTS {
            return Err(bad(offset, "more than a million parts"));
        }
        self.numbers.push(number);
        Ok(())
    }
}

/// Reads the rest of a pax map; in format 1.0 that is the head of the entry's data in `archive`.
pub(super) fn from_pax<R: Read>(
    map: PaxMap,
    archive: &mut Archive<R>,
    offset: u64,
) -> Result<(u64, Vec<Extent>), TarError> {
    let numbers = match (map.major, map.minor) {
        (0, _) => map.numbers,
        (1, 0) => read_map(archive, offset)?,
        _ => return Err(bad(offset, "it is in an unknown format")),
    };
    let size = map.size.ok_or(bad(offset, "the file's size is missing"))?;
    let (pairs, []) = numbers.as_chunks::<2>() else {
        return Err(bad(offset, "an offset has no length"));
    };
    let pairs = pairs.iter().map(|[offset, length]| (*offset, *length));
    Ok((size, checked(pairs, size, archive.remaining(), offset)?))
}

/// Format 1.0: decimal numbers, each with a newline; the first counts the pairs that follow; padded to a block.
fn read_map<R: Read>(archive: &mut Archive<R>, offset: u64) -> Result<Vec<u64>, TarError> {
    let mut lines = MapLines {
        data: archive.data(),
        block: [0; BLOCK],
        used: BLOCK,
        offset,
    };
    let count = lines.number()?;
    if count > MAX_EXTENTS as u64 {
        return Err(bad(offset, "more than a million parts"));
    }
    (0..2 * count).map(|_| lines.number()).collect()
}

struct MapLines<D> {
    data: D,
    block: [u8; BLOCK],
    used: usize,
    offset: u64,
}

impl<D: Read> MapLines<D> {
    fn number(&mut self) -> Result<u64, TarError> {
        /// Decimal digits of `u64::MAX`.
        const MAX_DIGITS: usize = 20;
        let mut digits = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => break,
                _ if digits.len() == MAX_DIGITS => {
                    return Err(bad(self.offset, "a number is too long"));
                }
                byte => digits.push(byte),
            }
        }
        decimal(&digits).ok_or(bad(self.offset, "a value is no number"))
    }

    fn byte(&mut self) -> Result<u8, TarError> {
        if self.used == BLOCK {
            self.data.read_exact(&mut self.block).map_err(|error| {
                match TarError::from_read(error) {
                    TarError::Read(error) if error.kind() == ErrorKind::UnexpectedEof => {
                        bad(self.offset, "it is longer than the entry")
                    }
                    error => error,
                }
            })?;
            self.used = 0;
        }
        self.used += 1;
        Ok(self.block[self.used - 1])
    }
}

/// Reads GNU's old format: pairs in the header, then in as many blocks as have the flag set.
pub(super) fn from_old_gnu(
    header: &Header<'_>,
    mut next_block: impl FnMut() -> Result<[u8; BLOCK], TarError>,
    stored: u64,
) -> Result<(u64, Vec<Extent>), TarError> {
    let offset = header.offset;
    let mut pairs = Vec::new();
    add_pairs(&header.block[OLD_MAP..], OLD_PAIRS, &mut pairs, offset)?;
    let mut extended = header.block[OLD_EXTENDED] != 0;
    while extended {
        let block = next_block()?;
        add_pairs(&block, EXTENSION_PAIRS, &mut pairs, offset)?;
        extended = block[EXTENSION_EXTENDED] != 0;
    }
    let size = header.number(REAL_SIZE)?;
    Ok((size, checked(pairs.into_iter(), size, stored, offset)?))
}

fn add_pairs(
    table: &[u8],
    count: usize,
    pairs: &mut Vec<(u64, u64)>,
    offset: u64,
) -> Result<(), TarError> {
    let number = |bytes| {
        parse_number(bytes)
            .and_then(|number| u64::try_from(number).ok())
            .ok_or(bad(offset, "a value is no number"))
    };
    for pair in table.chunks_exact(2 * NUMBER).take(count) {
        // An unused pair is all NULs.
        if pair[0] == 0 {
            continue;
        }
        if pairs.len() == MAX_EXTENTS {
            return Err(bad(offset, "more than a million parts"));
        }
        pairs.push((number(&pair[..NUMBER])?, number(&pair[NUMBER..])?));
    }
    Ok(())
}

/// The parts in order, apart, inside of the file, and together as long as the data that is stored.
fn checked(
    pairs: impl Iterator<Item = (u64, u64)>,
    size: u64,
    stored: u64,
    offset: u64,
) -> Result<Vec<Extent>, TarError> {
    if i64::try_from(size).is_err() {
        return Err(bad(offset, "the file's size is too large"));
    }
    let mut extents = Vec::new();
    let (mut end, mut total) = (0_u64, 0_u64);
    for (start, length) in pairs {
        if start < end {
            return Err(bad(offset, "its parts overlap or are out of order"));
        }
        end = match start.checked_add(length) {
            Some(end) if end <= size => end,
            _ => return Err(bad(offset, "a part lies beyond the end of the file")),
        };
        total += length;
        if length != 0 {
            extents.push((start, length));
        }
    }
    match total == stored {
        true => Ok(extents),
        false => Err(bad(offset, "its parts are not as long as the stored data")),
    }
}

fn bad(offset: u64, problem: &'static str) -> TarError {
    TarError::Sparse { offset, problem }
}
