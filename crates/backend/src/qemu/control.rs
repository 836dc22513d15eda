//! QEMU's control connection: its machine protocol (QMP) over an inherited socket, as far as it is needed here.
//!
//! One JSON object a line in both directions. QEMU greets, and takes commands once `qmp_capabilities` has been one. Each
//! gets one answer, `return` or `error`; events, which may come in between, are passed over.

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
    greeted: bool,
}

/// What of an answer counts.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    done: Option<serde_json::Value>,
    error: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

impl Control {
    /// The connection behind `stream`, of which QEMU has the other end.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
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
        if !stream.greeted {
            stream.line()?;
            stream.command("qmp_capabilities")?;
            stream.greeted = true;
        }
        stream.command(command)
    }
}

impl Stream {
    fn command(&mut self, command: &str) -> io::Result<()> {
        let request = format!("{{\"execute\":\"{command}\"}}\n");
        self.reader.get_mut().write_all(request.as_bytes())?;
        for _ in 0..MAX_EVENTS {
            match self.line()? {
                Answer { done: Some(_), .. } => return Ok(()),
                Answer {
                    error: Some(refusal),
                    ..
                } => return Err(io::Error::other(refusal.desc)),
                _ => {}
            }
        }
        Err(io::Error::other("QEMU sends events and no answer"))
    }

    fn line(&mut self) -> io::Result<Answer> {
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
