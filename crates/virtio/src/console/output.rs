//! Output on its way from the guest to its reader: taken at once, written in batches, bounded.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::ConsoleError;
use crate::memory::{Memory, Span, total_len};

/// Bytes that wait for a slow reader at most, and bytes of one request that are looked at: enough for the kernel
/// messages of a boot.
pub const BACKLOG: usize = 64 << 10;
/// So many bytes are written at once: what a pipe takes as a whole.
const BATCH: usize = 4096;
/// How long bytes wait for company. Whoever kills the process loses so much.
const LINGER: Duration = Duration::from_millis(10);

/// The guest's output.
pub struct Output {
    /// `None` once its reader is gone.
    file: Option<File>,
    pending: Vec<u8>,
    /// When the first pending byte came.
    since: Instant,
    /// Whether the file took no more bytes; its readiness causes another try.
    blocked: bool,
    /// Bytes lost since the last that are pending.
    lost: u64,
}

impl Output {
    /// Output into `file`.
    pub fn new(file: OwnedFd) -> Result<Self, ConsoleError> {
        make_non_blocking(&file, "output")?;
        Ok(Self {
            file: Some(file.into()),
            pending: Vec::new(),
            since: Instant::now(),
            blocked: false,
            lost: 0,
        })
    }

    /// The descriptor that becomes writable when a slow reader has made room.
    pub fn source(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.file.iter().map(AsFd::as_fd)
    }

    /// Takes what the guest printed into `spans`.
    pub fn take_from(&mut self, memory: &Memory, spans: &[Span]) {
        let len = total_len(spans);
        let taken = len.min(BACKLOG as u64);
        let mut piece = [0; BATCH];
        let mut done = 0;
        while done < taken {
            let piece = &mut piece[..(taken - done).min(BATCH as u64) as usize];
            if let Err(error) = memory.copy_out(spans, done, piece) {
                return tracing::debug!(%error, "console: output that is in no RAM is left out");
            }
            self.take(piece);
            done += piece.len() as u64;
        }
        self.lose(len - taken);
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.pending.is_empty() {
            self.since = Instant::now();
        }
        // After a loss nothing is taken until the line that tells of it is in its place.
        let room = if self.lost > 0 {
            0
        } else {
            BACKLOG - self.pending.len()
        };
        let (taken, lost) = bytes.split_at(room.min(bytes.len()));
        if self.file.is_some() {
            self.pending.extend_from_slice(taken);
        }
        self.lose(lost.len() as u64);
        if self.pending.len() >= BATCH && !self.blocked {
            self.write();
        }
    }

    fn lose(&mut self, len: u64) {
        if self.file.is_some() {
            self.lost = self.lost.saturating_add(len);
        }
    }

    /// Writes what waited long enough, or what a reader that was slow has room for now. Returns how long the rest waits.
    pub fn write_when_due(&mut self) -> Option<Duration> {
        let waited = self.since.elapsed();
        if self.blocked || waited >= LINGER {
            self.write();
        }
        let waits = !self.pending.is_empty() || self.lost > 0;
        (waits && !self.blocked).then(|| LINGER.saturating_sub(waited))
    }

    /// Writes what is pending, as far as the reader takes it without a wait.
    pub fn write(&mut self) {
        self.blocked = false;
        let mut written = 0;
        loop {
            if written == self.pending.len() {
                self.pending.clear();
                written = 0;
                if self.lost > 0 {
                    let lost = std::mem::take(&mut self.lost);
                    let _ = writeln!(
                        self.pending,
                        "\n[cenote: {lost} bytes of console output are lost: nobody read them in time]"
                    );
                }
            }
            let Some(file) = &mut self.file else { break };
            if self.pending.is_empty() || self.blocked {
                break;
            }
            match file.write(&self.pending[written..]) {
                Ok(0) => self.blocked = true,
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) => {
                    tracing::warn!(%error, "the console's output is not recorded any more");
                    self.file = None;
                }
            }
        }
        if self.file.is_none() {
            self.pending = Vec::new();
            self.lost = 0;
        } else {
            self.pending.drain(..written);
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.write();
    }
}

/// Lets calls on `descriptor` return instead of waiting.
pub fn make_non_blocking(
    descriptor: &OwnedFd,
    direction: &'static str,
) -> Result<(), ConsoleError> {
    fcntl_getfl(descriptor)
        .and_then(|flags| fcntl_setfl(descriptor, flags | OFlags::NONBLOCK))
        .map_err(|error| ConsoleError::Descriptor {
            direction,
            source: error.into(),
        })
}

#[cfg(test)]
mod tests;
