//! QEMU's control connection: its machine protocol (QMP) over an inherited socket, as far as it is needed here.
//!
//! One JSON object a line in both directions. QEMU greets, and takes commands once `qmp_capabilities` has been one, which
//! is sent ahead. Each gets one answer, `return` or `error`. Events may come in between; the one that is of interest is
//! the last, which says why the machine ended.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;

/// A QEMU that takes longer for an answer hangs. Under emulation on a busy host a stop takes well below a second.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest line: the answers to our commands have less than a hundred bytes, the greeting some hundreds.
const MAX_LINE: u64 = 16 << 10;

/// So many events may come before an answer; each is about something that the machine did.
const MAX_EVENTS: usize = 1000;

/// Our end of the connection.
#[derive(Debug)]
pub(super) struct Control {
    stream: Mutex<Stream>,
}

#[derive(Debug)]
struct Stream {
    reader: BufReader<UnixStream>,
    /// Whether the greeting and the answer to the first command have been read.
    greeted: bool,
}

/// What of a line counts.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "return")]
    done: Option<serde_json::Value>,
    error: Option<Refusal>,
    event: Option<String>,
    data: Option<Event>,
}

#[derive(Debug, Deserialize)]
struct Event {
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

impl Control {
    /// The connection behind `stream`, of which QEMU has the other end.
    pub fn new(mut stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(&request("qmp_capabilities"))?;
        Ok(Self {
            stream: Mutex::new(Stream {
                reader: BufReader::new(stream),
                greeted: false,
            }),
        })
    }

    /// Has QEMU carry out a command without arguments.
    pub fn execute(&self, command: &str) -> io::Result<()> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        stream.greet()?;
        stream.reader.get_mut().write_all(&request(command))?;
        stream.answer()
    }

    /// Whether the machine ended because its guest was reset. Call it when QEMU has ended: what it said is read to the
    /// end.
    pub fn was_reset(&self) -> bool {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = (0..MAX_EVENTS).map_while(|_| stream.line().ok());
        let reasons = lines
            .filter(|line| line.event.as_deref() == Some("SHUTDOWN"))
            .filter_map(|line| line.data?.reason);
        reasons
            .last()
            .is_some_and(|reason| ["guest-reset", "guest-panic"].contains(&&*reason))
    }
}

fn request(command: &str) -> Vec<u8> {
    format!("{{\"execute\":\"{command}\"}}\n").into_bytes()
}

impl Stream {
    fn greet(&mut self) -> io::Result<()> {
        if !self.greeted {
            self.line()?;
            self.answer()?;
            self.greeted = true;
        }
        Ok(())
    }

    fn answer(&mut self) -> io::Result<()> {
        for _ in 0..MAX_EVENTS {
            match self.line()? {
                Line { done: Some(_), .. } => return Ok(()),
                Line {
                    error: Some(refusal),
                    ..
                } => return Err(io::Error::other(refusal.desc)),
                _ => {}
            }
        }
        Err(io::Error::other("QEMU sends events and no answer"))
    }

    fn line(&mut self) -> io::Result<Line> {
        let mut line = String::new();
        let mut limited = self.reader.by_ref().take(MAX_LINE);
        if limited.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

#[cfg(test)]
#[path = "control_test.rs"]
mod tests;
