//! One connection between a guest port and a host socket.
//!
//! ```text
//!  host client ──> Greeting ──CONNECT line──> Requested ──RESPONSE──┐
//!                                                                   v
//!  guest REQUEST ─────────────────────────────────────────────────> Open
//!                                                                   │
//!        guest ends both directions or resets ──> Draining ──────> gone   (what it sent still reaches the host)
//!        host ends both directions ──> Closing ──guest's reset──> gone
//! ```
//!
//! `readable` and `writable` remember what edge-triggered epoll said until a call would block.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use thiserror::Error;

use super::credit::{Credit, Violation};
use super::packet::{HEADER_LEN, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::memory::{Memory, MemoryError, Span};

/// The two ports that name a connection; the context ids are always the host's and the guest's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ports {
    /// Port on the host's side.
    pub host: u32,
    /// Port on the guest's side.
    pub guest: u32,
}

/// See the drawing above.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// A host client has not finished its CONNECT line; the guest knows nothing of it.
    Greeting,
    /// The guest was asked, or will be, and has not answered.
    Requested,
    /// Data flows.
    Open,
    /// The host has ended both directions; the guest has not confirmed it.
    Closing,
    /// The guest has forgotten the connection; the host has not yet taken all that it sent.
    Draining,
}

/// Why a packet ends its connection with a reset.
#[derive(Debug, Error)]
pub enum Fault {
    /// The guest broke flow control.
    #[error(transparent)]
    Credit(#[from] Violation),
    /// The guest named memory that it does not have.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// More payload is announced than the packet's buffers hold.
    #[error("a packet announces {len} bytes of payload and has {have}")]
    Length {
        /// Bytes announced.
        len: u32,
        /// Bytes behind the header.
        have: u64,
    },
    /// The packet does not fit the state of the connection.
    #[error("operation {op} in phase {phase:?}")]
    Unexpected {
        /// Number of the operation.
        op: u16,
        /// State of the connection.
        phase: Phase,
    },
}

/// What a connection puts into a buffer of the guest.
#[derive(Debug, PartialEq, Eq)]
pub enum Produced {
    /// A packet without payload, and its flags.
    Control(Op, u32),
    /// This many bytes of payload, already in place behind the header.
    Data(u32),
    /// Nothing to send now.
    Nothing,
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    pub phase: Phase,
    /// `None` once the host is gone.
    pub stream: Option<UnixStream>,
    pub ports: Ports,
    pub credit: Credit,
    /// Bytes from the guest that the host has not taken; the credit bounds it.
    backlog: VecDeque<u8>,
    readable: bool,
    writable: bool,
    /// epoll reported that the host's writing side, or all of it, is closed: a short read may be followed by the end.
    host_ending: bool,
    host_gone: bool,
    /// No more bytes come from the host.
    host_sent_all: bool,
    /// No more bytes go to the host.
    host_got_all: bool,
    /// SHUTDOWN flags that the guest has sent.
    guest_stopped: u32,
    /// SHUTDOWN flags that the guest must be told, and those that it has been told.
    stop_due: u32,
    stop_told: u32,
    open_due: Option<Op>,
    update_asked: bool,
    credit_requested: bool,
    /// Whether the multiplexer has it in its list of connections with something for the guest.
    pub queued: bool,
}

impl Connection {
    /// A connection in `phase` on `stream`, which may hold back `buf_alloc` bytes of the guest's.
    pub fn new(phase: Phase, stream: UnixStream, ports: Ports, buf_alloc: u32) -> Self {
        Self {
            phase,
            stream: Some(stream),
            ports,
            credit: Credit::new(buf_alloc),
            backlog: VecDeque::new(),
            readable: false,
            writable: true,
            host_ending: false,
            host_gone: false,
            host_sent_all: false,
            host_got_all: false,
            guest_stopped: 0,
            stop_due: 0,
            stop_told: 0,
            open_due: None,
            update_asked: false,
            credit_requested: false,
            queued: false,
        }
    }

    /// The guest must be asked to accept.
    pub fn owe_request(&mut self) {
        self.open_due = Some(Op::Request);
    }

    /// The guest must be told that the host accepted.
    pub fn owe_response(&mut self) {
        self.open_due = Some(Op::Response);
    }

    /// The guest wants to know its credit.
    pub fn owe_update(&mut self) {
        self.update_asked = true;
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

    /// What epoll saw on the host's socket.
    pub fn note_events(&mut self, readable: bool, writable: bool, ending: bool, gone: bool) {
        self.readable |= readable || ending || gone;
        self.writable |= writable;
        self.host_ending |= ending || gone;
        self.host_gone |= gone;
    }

    /// Whether there is a packet for the guest, now or once it has a buffer free.
    pub fn wants_guest(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Draining => false,
            Phase::Requested => self.open_due.is_some(),
            Phase::Closing => self.stop_pending(),
            Phase::Open => self.control_pending() || (self.may_read() && self.credit.window() > 0),
        }
    }

    fn control_pending(&self) -> bool {
        self.open_due.is_some()
            || self.stop_pending()
            || self.update_pending()
            || self.credit_request_pending()
    }

    fn stop_pending(&self) -> bool {
        self.stop_due & !self.stop_told != 0
    }

    fn update_pending(&self) -> bool {
        self.update_asked || self.credit.update_due()
    }

    fn credit_request_pending(&self) -> bool {
        self.may_read() && self.credit.window() == 0 && !self.credit_requested
    }

    fn may_read(&self) -> bool {
        self.readable
            && !self.host_sent_all
            && self.guest_stopped & SHUTDOWN_RECEIVE == 0
            && self.stream.is_some()
    }

    /// Takes in the credit that a packet of the guest carries.
    pub fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) -> Result<(), Fault> {
        self.credit.hear(buf_alloc, fwd_cnt)?;
        if self.credit.window() > 0 {
            self.credit_requested = false;
        }
        Ok(())
    }

    /// The `len` payload bytes of a packet of the guest's, at `skip` in `spans`, go to the host: at once as far as its
    /// socket takes them, the rest later.
    pub fn data_from_guest(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
        len: u32,
    ) -> Result<(), Fault> {
        if self.guest_stopped & SHUTDOWN_SEND != 0 {
            return Err(Fault::Unexpected {
                op: Op::Data as u16,
                phase: self.phase,
            });
        }
        self.credit.receive(len)?;
        let sent = if self.backlog.is_empty() {
            self.pass_on(memory, spans, skip, len)?
        } else {
            0
        };
        self.credit.forward(sent);
        if sent < len && !self.host_got_all {
            let mut rest = vec![0; (len - sent) as usize];
            memory.copy_out(spans, skip + u64::from(sent), &mut rest)?;
            self.backlog.extend(rest);
        } else {
            self.credit.forward(len - sent);
        }
        Ok(())
    }

    fn pass_on(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
        len: u32,
    ) -> Result<u32, Fault> {
        let Some(stream) = self
            .stream
            .as_ref()
            .filter(|_| self.writable && !self.host_got_all && len > 0)
        else {
            return Ok(0);
        };
        let mut data = memory.data(spans, skip, u64::from(len), false)?;
        match data.send_to(stream.as_fd()) {
            Ok(sent) => Ok(sent as u32),
            Err(error) => self.send_failed(&error, len).map(|()| 0),
        }
    }

    fn send_failed(&mut self, error: &io::Error, len: u32) -> Result<(), Fault> {
        match error.raw_os_error() {
            Some(libc::EAGAIN) => self.writable = false,
            Some(libc::EFAULT) => return Err(MemoryError::Gone { len: len.into() }.into()),
            _ => self.host_takes_no_more(),
        }
        Ok(())
    }

    /// Sends as much of the backlog as the host's socket takes.
    pub fn flush(&mut self) {
        while self.writable && !self.host_got_all && !self.backlog.is_empty() {
            let Some(stream) = &self.stream else { break };
            match send(
                stream,
                self.backlog.as_slices().0,
                SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
            ) {
                Ok(sent) => {
                    self.backlog.drain(..sent);
                    self.credit.forward(sent as u32);
                }
                Err(Errno::AGAIN) => self.writable = false,
                Err(_) => self.host_takes_no_more(),
            }
        }
        if self.backlog.is_empty() {
            self.backlog.shrink_to(0);
            if self.guest_stopped & SHUTDOWN_SEND != 0 {
                self.end_host_input();
            }
        }
        self.settle();
    }

    /// The guest sends no more and the host has taken all: it sees the end of its input.
    fn end_host_input(&mut self) {
        if !self.host_got_all
            && let Some(stream) = &self.stream
        {
            // Fails only if the host is gone, which its events tell as well.
            let _ = stream.shutdown(Shutdown::Write);
        }
        self.host_got_all = true;
    }

    /// The host reads no more: what waits for it has no taker, and the guest must hear of it.
    fn host_takes_no_more(&mut self) {
        self.credit.forward(self.backlog.len() as u32);
        self.backlog = VecDeque::new();
        self.host_got_all = true;
        self.stop_due |= SHUTDOWN_RECEIVE;
    }

    fn host_sends_no_more(&mut self) {
        self.readable = false;
        self.host_sent_all = true;
        self.stop_due |= SHUTDOWN_SEND;
    }

    /// When both directions have ended, or the host is gone, the guest hears that it is over.
    fn settle(&mut self) {
        if self.phase != Phase::Open {
            return;
        }
        if self.host_gone && self.host_sent_all {
            self.host_takes_no_more();
        }
        if self.host_sent_all && self.host_got_all {
            self.stop_due = SHUTDOWN_BOTH;
            self.phase = Phase::Closing;
            self.stream = None;
        }
    }

    /// A SHUTDOWN packet of the guest. Returns whether it ended the connection.
    pub fn shutdown_from_guest(&mut self, flags: u32) -> bool {
        self.guest_stopped |= flags & SHUTDOWN_BOTH;
        if self.guest_stopped & SHUTDOWN_RECEIVE != 0
            && let Some(stream) = &self.stream
        {
            // Fails only if the host is gone, which its events tell as well.
            let _ = stream.shutdown(Shutdown::Read);
            self.host_sent_all = true;
        }
        self.guest_stopped == SHUTDOWN_BOTH
    }

    /// The guest has forgotten the connection. Returns whether the host still has bytes to take.
    pub fn drain(&mut self) -> bool {
        self.phase = Phase::Draining;
        self.guest_stopped = SHUTDOWN_BOTH;
        self.flush();
        self.has_backlog() && self.stream.is_some()
    }

    /// The next packet for the guest; payload is stored at `skip` bytes into `spans`.
    pub fn produce(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
    ) -> Result<Produced, MemoryError> {
        if let Some(op) = self.open_due.take() {
            return Ok(Produced::Control(op, 0));
        }
        if self.phase == Phase::Open && self.may_read() && self.credit.window() > 0 {
            let produced = self.read_host(memory, spans, skip)?;
            if produced != Produced::Nothing {
                return Ok(produced);
            }
        }
        Ok(self.control())
    }

    fn control(&mut self) -> Produced {
        if self.stop_pending() {
            self.stop_told |= self.stop_due;
            return Produced::Control(Op::Shutdown, self.stop_told);
        }
        if self.credit_request_pending() {
            self.credit_requested = true;
            return Produced::Control(Op::CreditRequest, 0);
        }
        if self.phase == Phase::Open && self.update_pending() {
            self.update_asked = false;
            return Produced::Control(Op::CreditUpdate, 0);
        }
        Produced::Nothing
    }

    fn read_host(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        skip: u64,
    ) -> Result<Produced, MemoryError> {
        let room = crate::memory::total_len(spans).saturating_sub(skip);
        if room == 0 {
            return Err(MemoryError::TooShort {
                have: skip,
                need: skip + 1,
            });
        }
        let limit = room.min(u64::from(self.credit.window()));
        let Some(stream) = &self.stream else {
            return Ok(Produced::Nothing);
        };
        let mut data = memory.data(spans, skip, limit, true)?;
        match data.receive_from(stream.as_fd()) {
            Ok(0) => self.host_sends_no_more(),
            Ok(received) => {
                // A short read empties the socket; only an end of stream could hide behind it.
                self.readable = received as u64 == data.len() || self.host_ending;
                self.credit.count_sent(received as u32);
                return Ok(Produced::Data(received as u32));
            }
            Err(error) => match error.raw_os_error() {
                Some(libc::EAGAIN) => self.readable = false,
                Some(libc::EFAULT) => {
                    return Err(MemoryError::Gone { len: limit });
                }
                _ => {
                    self.host_gone = true;
                    self.host_sends_no_more();
                }
            },
        }
        self.settle();
        Ok(Produced::Nothing)
    }

    /// Sends a line of the handshake to the host client. Returns whether it was taken whole.
    pub fn say(&mut self, line: &str) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        send(
            stream,
            line.as_bytes(),
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) == Ok(line.len())
    }
}

/// Offset of the payload in a packet.
pub const PAYLOAD: u64 = HEADER_LEN as u64;
