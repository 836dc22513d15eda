//! Reads small pieces of a file through a few larger windows, so that a tree costs few system calls.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::ReadError;

const WINDOW: u64 = 128 << 10;
/// Inodes and directory blocks are walked side by side; a few windows keep both at hand.
const WINDOWS: usize = 8;

pub(super) struct Windows {
    file: File,
    length: u64,
    /// Start offset and bytes.
    windows: Vec<(u64, Vec<u8>)>,
    /// The window to replace next.
    oldest: usize,
}

impl Windows {
    pub(super) fn new(file: File) -> Result<Self, ReadError> {
        let length = file.metadata().map_err(ReadError::Io)?.len();
        Ok(Self {
            file,
            length,
            windows: Vec::with_capacity(WINDOWS),
            oldest: 0,
        })
    }

    /// Length of the file in bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Fills `out` from byte `offset` on.
    pub(super) fn read(&mut self, offset: u64, out: &mut [u8]) -> Result<(), ReadError> {
        let length = out.len() as u64;
        let end = offset.checked_add(length).filter(|&end| end <= self.length);
        let end = end.ok_or(ReadError::OutOfImage { offset, length })?;
        let mut at = offset;
        let mut out = out;
        while at < end {
            let index = self.window(at / WINDOW * WINDOW)?;
            let (start, bytes) = &self.windows[index];
            let available = &bytes[(at - start) as usize..];
            // The file may have become shorter since it was opened.
            let count = available.len().min(out.len());
            if count == 0 {
                return Err(ReadError::OutOfImage { offset, length });
            }
            let (now, later) = out.split_at_mut(count);
            now.copy_from_slice(&available[..count]);
            out = later;
            at += count as u64;
        }
        Ok(())
    }

    /// The index of the window that starts at `start`.
    fn window(&mut self, start: u64) -> Result<usize, ReadError> {
        if let Some(index) = self.windows.iter().position(|(other, _)| *other == start) {
            return Ok(index);
        }
        let mut bytes = vec![0; WINDOW.min(self.length - start) as usize];
        self.file
            .read_exact_at(&mut bytes, start)
            .map_err(ReadError::Io)?;
        if self.windows.len() < WINDOWS {
            self.windows.push((start, bytes));
            return Ok(self.windows.len() - 1);
        }
        let index = self.oldest;
        self.windows[index] = (start, bytes);
        self.oldest = (self.oldest + 1) % WINDOWS;
        Ok(index)
    }
}
