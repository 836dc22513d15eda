//! The machine's console: kept on disk within a limit, and quoted when something goes wrong.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

/// When the file reaches this length it is begun anew; the one before is kept. A guest can print without end.
const MAX_LENGTH: u64 = 1 << 20;

/// So many lines explain a failure: the last ones, or those from where a panic begins.
const QUOTED_LINES: usize = 12;

/// At most so many bytes are looked at for them: a kernel says a page or two about a panic.
const QUOTED_BYTES: usize = 16 << 10;

/// How a kernel begins to say why it cannot go on.
const PANIC: &str = "Kernel panic - not syncing: ";

/// A console being recorded.
#[derive(Debug)]
pub(crate) struct Console {
    path: PathBuf,
    recorder: Mutex<Option<JoinHandle<()>>>,
}

impl Console {
    /// Records what comes out of `source` in the file at `path`, until its end.
    pub fn record(source: Option<File>, path: &Path) -> io::Result<Self> {
        let mut file = File::create(path)?;
        let path = path.to_owned();
        let target = path.clone();
        let recorder = source.map(|source| {
            thread::spawn(move || {
                // A full disk ends the record, not the machine.
                let _ = copy(source, &mut file, &target);
            })
        });
        Ok(Self {
            path,
            recorder: Mutex::new(recorder),
        })
    }

    /// The last lines, once the machine has stopped.
    pub fn tail(&self) -> String {
        let recorder = self
            .recorder
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(recorder) = recorder {
            // It ends with the machine; should it have failed, what it wrote is still there.
            let _ = recorder.join();
        }
        let recorded = fs::read(&self.path).unwrap_or_default();
        last_lines(&recorded)
    }
}

fn copy(mut source: File, file: &mut File, path: &Path) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let mut length = 0;
    loop {
        let count = source.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..count])?;
        length += count as u64;
        if length >= MAX_LENGTH {
            fs::rename(path, path.with_extension("old"))?;
            *file = File::create(path)?;
            length = 0;
        }
    }
}

/// The lines that say most. Printable text only: what a guest prints must not steer the terminal of whoever reads the error.
fn last_lines(recorded: &[u8]) -> String {
    let end = &recorded[recorded.len().saturating_sub(QUOTED_BYTES)..];
    let text = String::from_utf8_lossy(end);
    let lines: Vec<String> = text
        .lines()
        .map(|line| {
            line.chars()
                .filter(|character| !character.is_control())
                .collect::<String>()
        })
        .filter(|line| !line.trim().is_empty())
        .collect();
    let last = lines.len().saturating_sub(QUOTED_LINES);
    let panic = lines.iter().position(|line| line.contains(PANIC));
    let from = panic.unwrap_or(last).min(last);
    let quoted = lines.iter().skip(from).take(QUOTED_LINES).cloned();
    quoted.collect::<Vec<_>>().join("\n")
}

/// What a kernel's panic is about, if there is one among these lines.
pub(crate) fn panic(lines: &str) -> Option<&str> {
    let (_, about) = lines.lines().find_map(|line| line.split_once(PANIC))?;
    Some(about.trim())
}

/// The end of an error message that shows the console's last lines, if there are any.
pub(crate) fn quote(lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let indented: String = lines.lines().map(|line| format!("\n  | {line}")).collect();
    format!("; the console's last lines:{indented}")
}

#[cfg(test)]
#[path = "console_test.rs"]
mod tests;
