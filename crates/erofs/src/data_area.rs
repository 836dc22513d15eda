//! Where file data goes: an allocator that never leaves a big file off a huge-page boundary, and one write buffer.
//!
//! The image grows by whole 2 MiB regions. A file of 2 MiB or more starts a region; what it leaves of its last one is
//! filled by smaller files, so alignment costs next to nothing. Data passes through one buffer straight from the
//! caller's reader; small files that lie side by side leave in one write. A region that is filled from its start to its
//! end leaves in one write too: file systems that can then keep it in the page cache as one huge page, which whoever maps
//! the image gets by one fault.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;

use crate::layout::{BLOCK_SIZE, HUGE_BLOCKS, MAX_BLOCKS, PIECE_ALIGNMENT};
use crate::write_error::{WriteError, show};

/// Bytes of a region. The buffer holds one.
const REGION: usize = (HUGE_BLOCKS * BLOCK_SIZE) as usize;
/// Free ranges that are remembered; the shortest is forgotten first.
const MAX_FREE: usize = 64;

pub(crate) struct DataArea {
    file: File,
    /// End of the last region, in blocks; a multiple of [`HUGE_BLOCKS`].
    end: u64,
    /// Unused ranges of blocks in the regions so far.
    free: Vec<Range<u64>>,
    /// Bytes that belong at `buffer_offset` of the file and end where its region does, or before.
    buffer: Vec<u8>,
    buffer_len: usize,
    buffer_offset: u64,
}

impl DataArea {
    /// Takes an empty file; `reserved` blocks at its start are left for others.
    pub(crate) fn new(file: File, reserved: u64) -> Result<Self, WriteError> {
        let length = file.metadata().map_err(WriteError::io("inspect"))?.len();
        if length != 0 {
            return Err(WriteError::NotEmpty { length });
        }
        Ok(Self {
            file,
            end: HUGE_BLOCKS,
            free: vec![Range {
                start: reserved,
                end: HUGE_BLOCKS,
            }],
            buffer: vec![0; REGION],
            buffer_len: 0,
            buffer_offset: 0,
        })
    }

    /// Reserves a run of blocks and returns its first. At least one block must be asked for.
    pub(crate) fn allocate(&mut self, blocks: u64) -> Result<u32, WriteError> {
        let found = match blocks {
            HUGE_BLOCKS.. => None,
            _ => self
                .free
                .iter_mut()
                .find(|range| range.end - range.start >= blocks),
        };
        let start = match found {
            Some(range) => {
                range.start += blocks;
                range.start - blocks
            }
            None => self.grow(blocks)?,
        };
        Ok(u32::try_from(start).expect("grow() bounds addresses"))
    }

    /// Appends regions, uses their start and remembers the rest.
    fn grow(&mut self, blocks: u64) -> Result<u64, WriteError> {
        let too_large = || WriteError::TooLarge { limit: MAX_BLOCKS };
        let start = self.end;
        let used = start.checked_add(blocks).ok_or_else(too_large)?;
        let end = used
            .checked_next_multiple_of(HUGE_BLOCKS)
            .filter(|&end| end < MAX_BLOCKS)
            .ok_or_else(too_large)?;
        self.end = end;
        self.free.retain(|range| !range.is_empty());
        if self.free.len() == MAX_FREE {
            let shortest = (0..MAX_FREE).min_by_key(|&i| self.free[i].end - self.free[i].start);
            self.free.remove(shortest.expect("the list is full"));
        }
        self.free.push(used..end);
        Ok(start)
    }

    /// Copies `size` bytes of `data` to byte `offset` of the image and zeroes the rest of the last block.
    pub(crate) fn copy(
        &mut self,
        path: &[u8],
        offset: u64,
        size: u64,
        data: &mut dyn Read,
    ) -> Result<(), WriteError> {
        if offset != self.buffer_offset + self.buffer_len as u64 {
            self.flush()?;
            self.buffer_offset = offset;
        }
        let mut left = size;
        while left > 0 {
            if self.room() == 0 {
                self.flush()?;
            }
            let room = self.room().min(usize::try_from(left).unwrap_or(usize::MAX));
            let target = &mut self.buffer[self.buffer_len..self.buffer_len + room];
            match data.read(target) {
                Ok(0) => {
                    return Err(WriteError::ShortData {
                        path: show(path),
                        expected: size,
                        found: size - left,
                    });
                }
                Ok(n) => {
                    self.buffer_len += n;
                    left -= n as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    return Err(WriteError::Input {
                        path: show(path),
                        source,
                    });
                }
            }
        }
        let used = self.buffer_offset + self.buffer_len as u64;
        let padding =
            usize::try_from(used.next_multiple_of(BLOCK_SIZE) - used).expect("less than a block");
        self.buffer[self.buffer_len..self.buffer_len + padding].fill(0);
        self.buffer_len += padding;
        Ok(())
    }

    /// Bytes that the buffer can take before the end of its region.
    fn room(&self) -> usize {
        REGION - (self.buffer_offset % REGION as u64) as usize - self.buffer_len
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let pending = &self.buffer[..self.buffer_len];
        self.file
            .write_all_at(pending, self.buffer_offset)
            .map_err(WriteError::io("write to"))?;
        self.buffer_offset += self.buffer_len as u64;
        self.buffer_len = 0;
        Ok(())
    }

    /// Writes what is pending. Returns the file and the first block behind all data.
    pub(crate) fn finish(mut self) -> Result<(File, u64), WriteError> {
        self.flush()?;
        let last = self.free.iter().find(|range| range.end == self.end);
        Ok((self.file, last.map_or(self.end, |range| range.start)))
    }
}

/// Blocks that `size` bytes fill.
pub(crate) fn blocks_for(size: u64) -> u64 {
    size.div_ceil(BLOCK_SIZE)
}

/// `length` bytes rounded up to whole pieces.
pub(crate) fn piece_length(length: u64) -> u64 {
    length.next_multiple_of(PIECE_ALIGNMENT)
}

#[cfg(test)]
mod tests;
