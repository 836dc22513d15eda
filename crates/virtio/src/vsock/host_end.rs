//! The host's end of a connection: its socket, and the guest's bytes that it has not taken.
//!
//! `readable` and `writable` remember what edge-triggered epoll said until a call would have to wait.

use std::collections::VecDeque;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::greeting::{self, Greeting};
use crate::memory::{Memory, MemoryError, Span};

const SEND_FLAGS: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// One end. No call waits.
#[derive(Debug)]
pub struct HostEnd {
    /// `None` once both directions are over.
    stream: Option<UnixStream>,
    /// Bytes of the guest's that wait for the host. The connection's credit bounds them.
    backlog: VecDeque<u8>,
    readable: bool,
    writable: bool,
    /// epoll reported the end of the host's bytes: it may hide behind a short read.
    ending: bool,
    /// The host has closed its socket.
    gone: bool,
    /// No more bytes come from the host.
    sent_all: bool,
    /// No more bytes go to the host.
    got_all: bool,
    /// That was the host's will: bytes that were meant for it are lost.
    refuses: bool,
}

impl HostEnd {
    /// The end at `stream`.
    pub fn new(stream: UnixStream) -> Self {
        Self {
            stream: Some(stream),
            backlog: VecDeque::new(),
            readable: false,
            writable: true,
            ending: false,
            gone: false,
            sent_all: false,
            got_all: false,
            refuses: false,
        }
    }

    /// What epoll saw: bytes to read, room to write, the end of the host's bytes, the socket closed.
    pub fn note_events(&mut self, readable: bool, writable: bool, ending: bool, gone: bool) {
        self.readable |= readable || ending || gone;
        self.writable |= writable;
        self.ending |= ending || gone;
        self.gone |= gone;
    }

    /// Whether there may be something to read.
    pub fn may_read(&self) -> bool {
        self.readable && !self.sent_all && self.stream.is_some()
    }

    /// Whether no more bytes come from the host.
    pub fn sent_all(&self) -> bool {
        self.sent_all
    }

    /// Whether the host reads no more although the guest may have more for it.
    pub fn refuses(&self) -> bool {
        self.refuses
    }

    /// Whether no byte goes in either direction any more.
    pub fn is_over(&self) -> bool {
        self.sent_all && (self.got_all || self.gone)
    }

    /// Whether bytes of the guest's wait for the host.
    pub fn has_backlog(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// How many bytes of the guest's wait for the host.
    #[cfg(any(test, feature = "testing"))]
    pub fn backlog_len(&self) -> usize {
        self.backlog.len()
    }

    /// Takes over `len` bytes of guest memory, from `skip` bytes into `spans`: sends what the socket takes and keeps the
    /// rest. Returns how many need not be kept.
    pub fn take(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
        len: u32,
    ) -> Result<u32, MemoryError> {
        let sent = self.send_guest_memory(memory, spans, skip, len)?;
        if self.got_all {
            return Ok(len);
        }
        if sent < len {
            let mut rest = vec![0; (len - sent) as usize];
            memory.copy_out(spans, skip + u64::from(sent), &mut rest)?;
            self.backlog.extend(rest);
        }
        Ok(sent)
    }

    fn send_guest_memory(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
        len: u32,
    ) -> Result<u32, MemoryError> {
        let may_send = self.writable && !self.got_all && self.backlog.is_empty() && len > 0;
        let Some(stream) = self.stream.as_ref().filter(|_| may_send) else {
            return Ok(0);
        };
        let mut data = memory.data(spans, skip, len.into(), false)?;
        match data.send_to(stream.as_fd()) {
            Ok(sent) => return Ok(sent as u32),
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => self.writable = false,
                Some(libc::EFAULT) => return Err(MemoryError::Gone { len: len.into() }),
                _ => {
                    self.refuse();
                }
            },
        }
        Ok(0)
    }

    /// Sends as much of the backlog as the socket takes. Returns how many bytes need not be kept any more.
    pub fn flush(&mut self) -> u32 {
        let mut done = 0;
        while self.writable && !self.got_all && !self.backlog.is_empty() {
            let Some(stream) = &self.stream else { break };
            match send(stream, self.backlog.as_slices().0, SEND_FLAGS) {
                Ok(sent) => {
                    self.backlog.drain(..sent);
                    done += sent as u32;
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(_) => done += self.refuse(),
            }
        }
        if self.backlog.is_empty() {
            self.backlog.shrink_to(0);
        }
        done
    }

    /// The host reads no more. Returns how many bytes are lost.
    fn refuse(&mut self) -> u32 {
        self.got_all = true;
        self.refuses = true;
        std::mem::take(&mut self.backlog).len() as u32
    }

    /// Reads up to `limit` bytes, at least one, to `skip` bytes into `spans`. Returns how many there were.
    pub fn read(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
        limit: u64,
    ) -> Result<u32, MemoryError> {
        let Some(stream) = &self.stream else {
            return Ok(0);
        };
        let mut data = memory.data(spans, skip, limit, true)?;
        match data.receive_from(stream.as_fd()) {
            Ok(0) => self.sent_all = true,
            Ok(received) => {
                // A short read empties the socket; only the end could hide behind it.
                self.readable = received as u64 == data.len() || self.ending;
                return Ok(received as u32);
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => self.readable = false,
                Some(libc::EFAULT) => return Err(MemoryError::Gone { len: limit }),
                _ => {
                    self.gone = true;
                    self.sent_all = true;
                }
            },
        }
        Ok(0)
    }

    /// No more bytes come from the guest: once the backlog is gone, the host reads the end.
    pub fn end_input(&mut self) {
        if !self.got_all {
            self.shut(Shutdown::Write);
        }
        self.got_all = true;
    }

    /// The guest takes no more bytes: the host's writes fail from now on.
    pub fn end_output(&mut self) {
        self.shut(Shutdown::Read);
        self.sent_all = true;
    }

    fn shut(&self, direction: Shutdown) {
        if let Some(stream) = &self.stream {
            // Fails only if the host is gone, which its events tell as well.
            let _ = stream.shutdown(direction);
        }
    }

    /// Closes the socket. Returns how many bytes of the backlog are lost.
    pub fn hang_up(&mut self) -> u32 {
        self.stream = None;
        self.got_all = true;
        std::mem::take(&mut self.backlog).len() as u32
    }

    /// Reads the CONNECT line of a host client.
    pub fn greeting(&self) -> Greeting {
        self.stream
            .as_ref()
            .map_or(Greeting::Invalid, greeting::read)
    }

    /// Sends a line of the handshake to a host client. Returns whether it was taken whole.
    pub fn say(&self, line: &str) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        send(stream, line.as_bytes(), SEND_FLAGS) == Ok(line.len())
    }
}
