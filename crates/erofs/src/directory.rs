//! Blocks of a directory: sorted entries, their names behind them, each block on its own.

use zerocopy::{FromBytes, IntoBytes};

use crate::layout::{BLOCK_SIZE, DIRENT_SIZE, Dirent};
use crate::path::MAX_NAME;

/// One name in a directory, "." and ".." included.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry<'a> {
    pub name: &'a [u8],
    pub nid: u64,
    pub file_type: u8,
}

/// How many of the names, from the first on, fit into one block, and the bytes that they take.
fn fill<'a>(names: impl Iterator<Item = &'a [u8]>) -> (usize, usize) {
    let mut used = 0;
    let mut count = 0;
    for name in names {
        let more = DIRENT_SIZE + name.len();
        if used + more > BLOCK_SIZE as usize {
            break;
        }
        used += more;
        count += 1;
    }
    (count, used)
}

/// Size in bytes of the directory with these sorted names: whole blocks and the used part of the last.
pub(crate) fn size(names: &[&[u8]]) -> u64 {
    let mut rest = names;
    let mut size = 0;
    while !rest.is_empty() {
        let (count, used) = fill(rest.iter().copied());
        rest = &rest[count..];
        size += if rest.is_empty() {
            used as u64
        } else {
            BLOCK_SIZE
        };
    }
    size
}

/// Appends the directory's bytes for sorted entries; the last block stays short.
pub(crate) fn encode(entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let mut rest = entries;
    while !rest.is_empty() {
        let (count, used) = fill(rest.iter().map(|entry| entry.name));
        let (block, after) = rest.split_at(count);
        encode_block(block, out);
        rest = after;
        if !rest.is_empty() {
            out.resize(out.len() + BLOCK_SIZE as usize - used, 0);
        }
    }
}

fn encode_block(entries: &[Entry<'_>], out: &mut Vec<u8>) {
    let mut name_offset = entries.len() * DIRENT_SIZE;
    for entry in entries {
        let offset = u16::try_from(name_offset).expect("fill() keeps to a block");
        let dirent = Dirent {
            nid: entry.nid.into(),
            name_offset: offset.into(),
            file_type: entry.file_type,
            reserved: 0,
        };
        out.extend_from_slice(dirent.as_bytes());
        name_offset += entry.name.len();
    }
    for entry in entries {
        out.extend_from_slice(entry.name);
    }
}

/// The entries of one block (the last may be short). Errors name what is wrong with it.
pub(crate) fn decode_block(block: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    let first = Dirent::read_from_prefix(block)
        .map_err(|_| "ends inside an entry")?
        .0;
    let names_start = usize::from(first.name_offset.get());
    if names_start == 0 || names_start % DIRENT_SIZE != 0 || names_start > block.len() {
        return Err("has an impossible first name offset");
    }
    let count = names_start / DIRENT_SIZE;
    let mut entries = Vec::with_capacity(count);
    let dirent =
        |index: usize| Dirent::read_from_prefix(&block[index * DIRENT_SIZE..]).map(|read| read.0);
    for index in 0..count {
        let entry = dirent(index).map_err(|_| "ends inside an entry")?;
        let start = usize::from(entry.name_offset.get());
        let end = match index + 1 < count {
            true => usize::from(
                dirent(index + 1)
                    .map_err(|_| "ends inside an entry")?
                    .name_offset
                    .get(),
            ),
            false => block.len(),
        };
        let mut name = block
            .get(start..end)
            .ok_or("has name offsets out of order")?;
        if index + 1 == count {
            name = name.split(|&byte| byte == 0).next().unwrap_or(name);
        }
        if start < names_start || name.is_empty() || name.len() > MAX_NAME {
            return Err("has an impossible name");
        }
        entries.push(Entry {
            name,
            nid: entry.nid.get(),
            file_type: entry.file_type,
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
