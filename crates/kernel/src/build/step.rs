//! One program of a build, run to its end: its output goes to a log of bounded length, its last lines are kept.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use cenote_debian::Lock;

use super::Error;

/// A whole build writes 300 kB; a compiler that complains about everything writes some megabytes.
const MAX_LOG: u64 = 16 << 20;
/// As many of the last lines as an error message shows: enough for a compiler's complaint, little enough for a screen.
const TAIL: usize = 15;
/// Longer lines are shown by their beginning only.
const MAX_LINE: usize = 300;

/// The log of a build.
#[derive(Debug)]
pub(super) struct Log<'a> {
    path: &'a Path,
    lock: &'a Lock,
    file: File,
    left: u64,
}

impl<'a> Log<'a> {
    /// Begins a log at `path`, of programs that work under `lock` and share it.
    pub(super) fn new(path: &'a Path, lock: &'a Lock) -> io::Result<Self> {
        let file = File::create(path)?;
        Ok(Self {
            path,
            lock,
            file,
            left: MAX_LOG,
        })
    }

    /// Runs `command` and tells `line` each line that it prints.
    ///
    /// # Errors
    /// [`Error::Failed`] with the last lines when the program fails.
    pub(super) fn run(
        &mut self,
        mut command: Command,
        what: &'static str,
        mut line: impl FnMut(&str),
    ) -> Result<(), Error> {
        let failed = |source| Error::Run {
            program: what,
            source,
        };
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        let second = writer.try_clone().map_err(failed)?;
        let mut child = command
            .stdin(self.lock.shared().map_err(failed)?)
            .stdout(writer)
            .stderr(second)
            .spawn()
            .map_err(failed)?;
        // It holds the pipe's writing ends, without which reading would never end.
        drop(command);
        let mut lines = Lines::default();
        let mut buffer = [0; 8192];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            self.keep(&buffer[..count]).map_err(failed)?;
            lines.take(&buffer[..count], &mut line);
        }
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(());
        }
        Err(Error::Failed {
            what,
            status,
            log: self.path.to_owned(),
            tail: lines.tail(),
        })
    }

    fn keep(&mut self, bytes: &[u8]) -> io::Result<()> {
        let kept = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.left -= kept as u64;
        self.file.write_all(&bytes[..kept])
    }
}

/// Bytes cut into lines, of which the last are kept.
#[derive(Debug, Default)]
struct Lines {
    open: Vec<u8>,
    last: VecDeque<String>,
}

impl Lines {
    fn take(&mut self, bytes: &[u8], line: &mut impl FnMut(&str)) {
        for byte in bytes {
            match byte {
                b'\n' => self.close(line),
                _ if self.open.len() < MAX_LINE => self.open.push(*byte),
                _ => {}
            }
        }
    }

    fn close(&mut self, line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.open).into_owned();
        self.open.clear();
        line(&text);
        if self.last.len() == TAIL {
            self.last.pop_front();
        }
        self.last.push_back(text);
    }

    fn tail(mut self) -> String {
        if !self.open.is_empty() {
            self.close(&mut |_| {});
        }
        Vec::from(self.last).join("\n")
    }
}

#[cfg(test)]
#[path = "step_test.rs"]
mod tests;
