//! Input on its way to the guest.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::ConsoleError;
use super::output::make_non_blocking;
use crate::memory::total_len;
use crate::queue::{Ring, RingError};

/// Bytes read at once, and so many wait for the guest at most.
const CHUNK: usize = 4096;
/// Buffers filled in one round.
const QUOTA: usize = 64;

/// The guest's input.
pub struct Input {
    /// `None` if there is none, or no more.
    file: Option<File>,
    unread: Vec<u8>,
}

impl Input {
    /// Input that begins with `unread` and goes on with what `file` holds.
    pub fn new(file: Option<OwnedFd>, unread: Vec<u8>) -> Result<Self, ConsoleError> {
        if let Some(file) = &file {
            make_non_blocking(file, "input")?;
        }
        Ok(Self {
            file: file.map(File::from),
            unread,
        })
    }

    /// The descriptor that becomes readable when there is more.
    pub fn source(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.file.iter().map(AsFd::as_fd)
    }

    /// What was read and is not the guest's yet.
    pub fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Fills buffers of `ring` while there is input. Returns whether there may be more.
    pub fn fill(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        let mut more = true;
        for _ in 0..QUOTA {
            if self.unread.is_empty() {
                self.read();
            }
            if self.unread.is_empty() {
                more = false;
                break;
            }
            match ring.pop()? {
                Some(Ok(chain)) => {
                    let room = total_len(chain.writable()).min(self.unread.len() as u64);
                    let bytes = &self.unread[..room as usize];
                    // A buffer that is in no RAM is given back empty; the bytes go into the next one.
                    let filled = memory.copy_in(chain.writable(), 0, bytes).map(|()| room);
                    let filled = filled.unwrap_or(0);
                    self.unread.drain(..filled as usize);
                    ring.push(chain, filled as u32)?;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "console: an unusable buffer is given back");
                }
                None if ring.arm()? => {}
                None => {
                    more = false;
                    break;
                }
            }
        }
        ring.notify()?;
        Ok(more)
    }

    fn read(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut chunk = [0; CHUNK];
        match file.read(&mut chunk) {
            Ok(0) => self.file = None,
            Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) => {}
            Err(error) => {
                tracing::warn!(%error, "the console gets no more input");
                self.file = None;
            }
        }
    }
}
