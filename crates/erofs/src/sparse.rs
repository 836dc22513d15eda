//! How a file with holes is cut into chunks.
//!
//! A chunk is either a hole or lies whole in the image, so small chunks waste no space and large ones need fewer
//! indexes (and can be mapped huge). The rule: the largest chunk that stores at most an eighth more than single blocks
//! would, and no more chunks than [`MAX_CHUNKS`].

use crate::data_area::blocks_for;
use crate::layout::BLOCK_SIZE;
use crate::write_error::{WriteError, show};

/// Chunks of one file. Bounds the indexes to 256 KiB of metadata, whatever size a header of a few bytes claims.
pub(crate) const MAX_CHUNKS: u64 = 1 << 16;

/// What five bits of the chunk format can say.
pub(crate) const MAX_CHUNK_BITS: u8 = 31;

/// Chunks that hold data, as runs `[first chunk, end)`, for chunks of `1 << chunk_bits` blocks.
pub(crate) struct Cut {
    pub chunk_bits: u8,
    pub runs: Vec<(u64, u64)>,
    /// Blocks of data and of the holes that share a chunk with them.
    pub stored_blocks: u64,
}

/// Checks a sparse map: ascending, apart, inside the file. Empty extents are allowed anywhere inside.
pub(crate) fn check(path: &[u8], size: u64, extents: &[(u64, u64)]) -> Result<(), WriteError> {
    let mut free_from = 0;
    for &(offset, length) in extents {
        match offset.checked_add(length) {
            Some(end) if offset >= free_from && end <= size => free_from = end,
            _ => {
                return Err(WriteError::Extent {
                    path: show(path),
                    offset,
                    length,
                });
            }
        }
    }
    Ok(())
}

/// Chooses the chunk size for a checked map of a file of at most `MAX_BLOCKS` blocks.
pub(crate) fn cut(size: u64, extents: &[(u64, u64)]) -> Cut {
    let whole = blocks_for(size).max(1).next_power_of_two().ilog2() as u8;
    let largest = whole.min(MAX_CHUNK_BITS);
    let single = stored_blocks(&runs(0, extents), 0, size);
    let frugal = (0..=largest)
        .rev()
        .find(|&bits| stored_blocks(&runs(bits, extents), bits, size) <= single + single / 8)
        .unwrap_or(0);
    let chunk_bits = (frugal..MAX_CHUNK_BITS)
        .find(|&bits| chunk_count(size, bits) <= MAX_CHUNKS)
        .unwrap_or(MAX_CHUNK_BITS);
    let runs = runs(chunk_bits, extents);
    Cut {
        chunk_bits,
        stored_blocks: stored_blocks(&runs, chunk_bits, size),
        runs,
    }
}

/// Chunks that a file of `size` bytes has.
pub(crate) fn chunk_count(size: u64, chunk_bits: u8) -> u64 {
    size.div_ceil(BLOCK_SIZE << chunk_bits)
}

/// Blocks of the file that runs of chunks store; the last chunk ends with the file.
fn stored_blocks(runs: &[(u64, u64)], chunk_bits: u8, size: u64) -> u64 {
    runs.iter()
        .map(|&(first, end)| (end << chunk_bits).min(blocks_for(size)) - (first << chunk_bits))
        .sum()
}

/// Runs of chunks `[first, end)` that the extents touch.
fn runs(chunk_bits: u8, extents: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let chunk = BLOCK_SIZE << chunk_bits;
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &(offset, length) in extents.iter().filter(|(_, length)| *length > 0) {
        let (first, end) = (offset / chunk, (offset + length).div_ceil(chunk));
        match runs.last_mut() {
            Some(last) if first <= last.1 => last.1 = last.1.max(end),
            _ => runs.push((first, end)),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
