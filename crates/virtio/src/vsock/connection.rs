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

use std::os::unix::net::UnixStream;

use thiserror::Error;

use super::credit::{Credit, Violation};
use super::host_end::HostEnd;
use super::packet::{HEADER_LEN, Op, SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};
use crate::memory::{Memory, MemoryError, Span, total_len};

/// Offset of the payload in a packet.
pub const PAYLOAD: u64 = HEADER_LEN as u64;

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
    pub ports: Ports,
    pub host: HostEnd,
    pub credit: Credit,
    /// SHUTDOWN flags that the guest has sent.
    guest_stopped: u32,
    /// SHUTDOWN flags that the guest has been told.
    told_stopped: u32,
    /// The packet that opens the connection, if it is not sent yet.
    open_due: Option<Op>,
    /// The guest asked for its credit.
    update_asked: bool,
    /// The guest was asked for credit and has given none since.
    credit_requested: bool,
    /// Whether the multiplexer has it in its list of connections with something for the guest.
    pub queued: bool,
}

impl Connection {
    /// A connection in `phase` on `stream`, which may hold back `buf_alloc` bytes of the guest's.
    pub fn new(phase: Phase, stream: UnixStream, ports: Ports, buf_alloc: u32) -> Self {
        Self {
            phase,
            ports,
            host: HostEnd::new(stream),
            credit: Credit::new(buf_alloc),
            guest_stopped: 0,
            told_stopped: 0,
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

    /// Whether the guest has heard of the connection.
    pub fn is_known_to_guest(&self) -> bool {
        match self.phase {
            Phase::Greeting => false,
            Phase::Requested => self.open_due.is_none(),
            Phase::Open | Phase::Closing | Phase::Draining => true,
        }
    }

    /// Whether there is a packet for the guest, now or once it has a buffer free.
    pub fn wants_guest(&self) -> bool {
        match self.phase {
            Phase::Greeting | Phase::Draining => false,
            Phase::Requested => self.open_due.is_some(),
            Phase::Closing => self.stop_due() != 0,
            Phase::Open => {
                self.open_due.is_some()
                    || self.stop_due() != 0
                    || self.update_due()
                    || self.credit_request_due()
                    || self.may_read()
            }
        }
    }

    /// SHUTDOWN flags that the guest must hear of: what the host has ended and the guest has not ended itself.
    fn stop_due(&self) -> u32 {
        let mut flags = 0;
        if self.host.sent_all() && self.guest_stopped & SHUTDOWN_RECEIVE == 0 {
            flags |= SHUTDOWN_SEND;
        }
        if self.host.refuses() && self.guest_stopped & SHUTDOWN_SEND == 0 {
            flags |= SHUTDOWN_RECEIVE;
        }
        if self.phase == Phase::Closing {
            flags = SHUTDOWN_BOTH;
        }
        flags & !self.told_stopped
    }

    fn update_due(&self) -> bool {
        self.update_asked || self.credit.update_due()
    }

    fn credit_request_due(&self) -> bool {
        self.host.may_read() && self.credit.window() == 0 && !self.credit_requested
    }

    fn may_read(&self) -> bool {
        self.host.may_read() && self.credit.window() > 0
    }

    /// Takes in the credit that a packet of the guest carries.
    pub fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) -> Result<(), Fault> {
        self.credit.hear(buf_alloc, fwd_cnt)?;
        if self.credit.window() > 0 {
            self.credit_requested = false;
        }
        Ok(())
    }

    /// The `len` payload bytes behind the header of a packet of the guest's, in `spans`, go to the host.
    pub fn data_from_guest(
        &mut self,
        memory: &Memory,
        spans: &[Span],
        len: u32,
    ) -> Result<(), Fault> {
        if self.guest_stopped & SHUTDOWN_SEND != 0 {
            return Err(Fault::Unexpected {
                op: Op::Data as u16,
                phase: self.phase,
            });
        }
        self.credit.receive(len)?;
        let done = self.host.take(memory, spans, PAYLOAD, len)?;
        self.credit.forward(done);
        Ok(())
    }

    /// Does what has become possible on the host's end.
    pub fn flush(&mut self) {
        self.credit.forward(self.host.flush());
        if self.guest_stopped & SHUTDOWN_SEND != 0 && !self.host.has_backlog() {
            self.host.end_input();
        }
        self.settle();
    }

    /// When the host has ended both directions, the guest hears that it is over.
    fn settle(&mut self) {
        if self.phase == Phase::Open && self.host.is_over() {
            self.phase = Phase::Closing;
            self.credit.forward(self.host.hang_up());
        }
    }

    /// A SHUTDOWN packet of the guest. Returns whether it ended the connection.
    pub fn shutdown_from_guest(&mut self, flags: u32) -> bool {
        self.guest_stopped |= flags & SHUTDOWN_BOTH;
        if self.guest_stopped & SHUTDOWN_RECEIVE != 0 {
            self.host.end_output();
        }
        self.guest_stopped == SHUTDOWN_BOTH
    }

    /// The guest has forgotten the connection. Returns whether the host still has bytes to take.
    pub fn drain(&mut self) -> bool {
        self.phase = Phase::Draining;
        self.guest_stopped = SHUTDOWN_BOTH;
        self.flush();
        self.host.has_backlog()
    }

    /// The next packet for the guest; payload is stored in `spans`, behind the room for the header.
    pub fn produce(&mut self, memory: &Memory, spans: &[Span]) -> Result<Produced, MemoryError> {
        if let Some(op) = self.open_due.take() {
            return Ok(Produced::Control(op, 0));
        }
        if self.phase == Phase::Open && self.may_read() {
            let room = total_len(spans).saturating_sub(PAYLOAD);
            if room == 0 {
                return Err(MemoryError::TooShort {
                    have: PAYLOAD,
                    need: PAYLOAD + 1,
                });
            }
            let limit = room.min(self.credit.window().into());
            let len = self.host.read(memory, spans, PAYLOAD, limit)?;
            if len > 0 {
                self.credit.count_sent(len);
                return Ok(Produced::Data(len));
            }
            self.settle();
        }
        Ok(self.control())
    }

    fn control(&mut self) -> Produced {
        let stop = self.stop_due();
        if stop != 0 {
            self.told_stopped |= stop;
            return Produced::Control(Op::Shutdown, self.told_stopped);
        }
        if self.phase != Phase::Open {
            return Produced::Nothing;
        }
        if self.credit_request_due() {
            self.credit_requested = true;
            return Produced::Control(Op::CreditRequest, 0);
        }
        if self.update_due() {
            self.update_asked = false;
            return Produced::Control(Op::CreditUpdate, 0);
        }
        Produced::Nothing
    }
}
