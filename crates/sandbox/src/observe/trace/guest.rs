//! The guest's half of a trace: its kernel's events and its clock, by a connection to the agent.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use cenote_protocol::{
    ClockProbe, ClockReading, EXEC_PORT, FrameError, FrameReader, HandshakeError, Kind, Refused,
    Side, TraceEvents, TraceRequest, TracedMount, Tracing, handshake, write_message,
};
use cenote_virtio::vsock;

use super::clock::Clock;
use crate::observe::tap::monotonic_ns;

/// Questions before the trace begins: the quickest answer of some is a good one.
const FIRST: u32 = 16;

/// Why the guest tells nothing, or nothing any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Connect(#[from] vsock::ConnectError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("lost the connection to the guest: {0}")]
    Frame(#[from] FrameError),
    #[error("{}", .0.message)]
    Refused(Refused),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Frame(error.into())
    }
}

/// The connection, for questions. Closed when this is dropped.
#[derive(Debug)]
pub(super) struct Guest {
    stream: UnixStream,
    /// The question that is under way, and when it was asked.
    asked: Option<(u32, u64)>,
    next: u32,
}

/// What the guest says.
#[derive(Debug)]
pub(super) enum Said {
    Events(TraceEvents),
    /// What its clock says, and when the answer came by ours.
    Time(ClockReading, u64),
}

/// The connection's other direction.
#[derive(Debug)]
pub(super) struct Listener(FrameReader<UnixStream>);

/// What comes before the first event: the mounts, and a clock that has been asked.
pub(super) type Begun = (Guest, Listener, Vec<TracedMount>);

impl Guest {
    /// Has the agent behind the vsock socket at `path` trace one in `rate` requests, and learns its `clock`.
    pub fn trace(path: &Path, rate: u32, clock: &mut Clock) -> Result<Begun, Error> {
        let mut stream = vsock::connect(path, EXEC_PORT)?;
        handshake(&mut stream, Side::Host)?;
        write_message(&mut stream, &TraceRequest { rate })?;
        let mut frames = FrameReader::new(stream.try_clone()?);
        let answer = frames.next_frame()?.ok_or(FrameError::Truncated)?;
        if answer.kind == Kind::Refused {
            return Err(Error::Refused(answer.message()?));
        }
        let Tracing { mounts } = answer.message()?;
        let mut guest = Guest {
            stream,
            asked: None,
            next: 0,
        };
        let mut listener = Listener(frames);
        for _ in 0..FIRST {
            guest.ask()?;
            // Events that come in between are of requests before the trace begins.
            while guest.asked.is_some() {
                if let Said::Time(reading, at) = listener.listen()? {
                    guest.answered(reading, at, clock);
                }
            }
        }
        Ok((guest, listener, mounts))
    }

    /// Asks for the time, unless an answer is still to come.
    pub fn ask(&mut self) -> Result<(), FrameError> {
        if self.asked.is_some() {
            return Ok(());
        }
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        self.asked = Some((number, monotonic_ns()));
        write_message(&mut self.stream, &ClockProbe { number })
    }

    /// Teaches `clock` what the answer says that came at the time `at`.
    pub fn answered(&mut self, reading: ClockReading, at: u64, clock: &mut Clock) {
        if let Some((number, asked)) = self.asked
            && number == reading.number
        {
            self.asked = None;
            clock.learn(asked, reading.received_ns, reading.sent_ns, at);
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Whoever listens is told that it is over; a connection that is gone needs no end.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

impl Listener {
    /// Waits for the next thing that the guest says.
    pub fn listen(&mut self) -> Result<Said, FrameError> {
        let frame = self.0.next_frame()?.ok_or(FrameError::Truncated)?;
        let at = monotonic_ns();
        match frame.kind {
            Kind::ClockReading => Ok(Said::Time(frame.message()?, at)),
            _ => Ok(Said::Events(frame.message()?)),
        }
    }
}
