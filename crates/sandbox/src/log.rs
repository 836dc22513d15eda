//! What a container wrote to its standard output and error, kept on disk within a limit.
//!
//! One record a line, in the form that container engines use: time, stream, `F` or `P`, text. `P` marks a text that
//! did not end its line, so that the bytes come back exactly as they were written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// When the log reaches this length it becomes the old one, and the old one is dropped: at most twice this is kept.
pub(crate) const MAX_LENGTH: u64 = 8 << 20;

/// A record's text is cut after so many bytes, so that a reader can bound its buffer.
const MAX_TEXT: usize = 16 << 10;

/// The longest that a record with its time and marks can be.
const MAX_RECORD: u64 = MAX_TEXT as u64 + 128;

/// Which of a process's two outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output, and everything from a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// One piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was written, as RFC 3339.
    pub time: String,
    /// Where it was written to.
    pub stream: Stream,
    /// The bytes, with the newline if there was one.
    pub bytes: Vec<u8>,
}

/// The writing end, owned by the monitor.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Writer {
    /// Continues the log at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let length = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
        })
    }

    /// Adds `bytes` as one record for each line.
    pub fn append(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        let time = humantime::format_rfc3339_nanos(SystemTime::now());
        let mut records = Vec::with_capacity(bytes.len() + 64);
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ended) = line
                .strip_suffix(b"\n")
                .map_or((line, false), |text| (text, true));
            let mut pieces = text.chunks(MAX_TEXT).peekable();
            loop {
                let piece = pieces.next().unwrap_or_default();
                let last = pieces.peek().is_none();
                let mark = if ended && last { 'F' } else { 'P' };
                write!(records, "{time} {} {mark} ", stream.name())?;
                records.extend_from_slice(piece);
                records.push(b'\n');
                if last {
                    break;
                }
            }
        }
        self.file.write_all(&records)?;
        self.length += records.len() as u64;
        if self.length >= MAX_LENGTH {
            self.rotate()
        } else {
            Ok(())
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, old(&self.path))?;
        *self = Self::open(&self.path)?;
        Ok(())
    }
}

/// Where the log at `path` goes when it is full.
pub(crate) fn old(path: &Path) -> PathBuf {
    path.with_extension("old")
}

/// Reads records one after the other; a record still being written is left for later.
#[derive(Debug)]
pub(crate) struct Reader {
    file: BufReader<File>,
    unfinished: Vec<u8>,
}

impl Reader {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            file: BufReader::new(File::open(path)?),
            unfinished: Vec::new(),
        })
    }

    /// The file that is read, to tell whether it is still the current one.
    pub fn file(&self) -> &File {
        self.file.get_ref()
    }

    /// The next record, or `None` at the present end. A line that is no record is an error.
    pub fn next(&mut self) -> io::Result<Option<Record>> {
        use std::io::Read;
        let room = MAX_RECORD.saturating_sub(self.unfinished.len() as u64);
        self.file
            .by_ref()
            .take(room)
            .read_until(b'\n', &mut self.unfinished)?;
        if self.unfinished.last() != Some(&b'\n') {
            return if self.unfinished.len() as u64 >= MAX_RECORD {
                Err(malformed())
            } else {
                Ok(None)
            };
        }
        let line = std::mem::take(&mut self.unfinished);
        parse(&line).map(Some).ok_or_else(malformed)
    }
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "a line of the log is not a record",
    )
}

fn parse(line: &[u8]) -> Option<Record> {
    let mut parts = line.splitn(4, |&byte| byte == b' ');
    let time = std::str::from_utf8(parts.next()?).ok()?.to_owned();
    let stream = match parts.next()? {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let mark = parts.next()?;
    let mut bytes = parts.next()?.to_vec();
    match mark {
        b"F" => {}
        b"P" => drop(bytes.pop()),
        _ => return None,
    }
    Some(Record {
        time,
        stream,
        bytes,
    })
}

#[cfg(test)]
#[path = "log_test.rs"]
mod tests;
