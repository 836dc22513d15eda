//! How a layer's file data get into the image.

use std::io::Read;

use super::LayerWriter;
use crate::data_area::blocks_for;
use crate::layout::BLOCK_SIZE;
use crate::sparse::{self, Cut};
use crate::tree::{Blocks, Run};
use crate::write_error::WriteError;

/// Chunks of all files with holes together: 64 MiB of indexes, which a hostile stream could otherwise multiply.
const MAX_LAYER_CHUNKS: u64 = 1 << 24;

impl LayerWriter {
    /// Stores a file as one run of blocks.
    pub(super) fn store(
        &mut self,
        path: &[u8],
        size: u64,
        extents: &[(u64, u64)],
        data: &mut dyn Read,
    ) -> Result<Blocks, WriteError> {
        if size == 0 {
            return Ok(Blocks::Plain(0));
        }
        let first = self.data.allocate(blocks_for(size))?;
        for &(offset, length) in extents {
            self.data
                .copy(path, u64::from(first) * BLOCK_SIZE + offset, length, data)?;
            self.data_bytes += length;
        }
        Ok(Blocks::Plain(first))
    }

    /// Stores the chunks of a file that hold data, all in one run of blocks.
    pub(super) fn store_chunks(
        &mut self,
        path: &[u8],
        size: u64,
        extents: &[(u64, u64)],
        cut: &Cut,
        data: &mut dyn Read,
    ) -> Result<Blocks, WriteError> {
        self.chunks += sparse::chunk_count(size, cut.chunk_bits);
        if self.chunks > MAX_LAYER_CHUNKS {
            return Err(WriteError::TooMany {
                what: "chunks of files with holes",
                limit: MAX_LAYER_CHUNKS,
            });
        }
        let mut next = if cut.stored_blocks == 0 {
            0
        } else {
            u64::from(self.data.allocate(cut.stored_blocks)?)
        };
        let mut runs = Vec::with_capacity(cut.runs.len());
        let mut pending = extents.iter().filter(|(_, length)| *length > 0).peekable();
        for &(first, end) in &cut.runs {
            let start = (first << cut.chunk_bits) * BLOCK_SIZE;
            let stop = (end << cut.chunk_bits) * BLOCK_SIZE;
            runs.push(Run {
                first: first as u32,
                count: (end - first) as u32,
                block: next as u32,
            });
            while let Some(&(offset, length)) = pending.next_if(|(offset, _)| *offset < stop) {
                self.data
                    .copy(path, next * BLOCK_SIZE + (offset - start), length, data)?;
                self.data_bytes += length;
            }
            next += (end - first) << cut.chunk_bits;
        }
        Ok(Blocks::Chunks {
            chunk_bits: cut.chunk_bits,
            runs: runs.into(),
        })
    }
}
