//! Frames: all that travels after the preamble.
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 1 | kind, see [`Kind`] |
//! | 1 | 3 | zero |
//! | 4 | 4 | length of the payload in bytes, little-endian |
//! | 8 | length | payload |
//!
//! The payload of a stream frame is the stream's bytes. Every other payload is one message, encoded by postcard,
//! with nothing behind it. A length above the kind's limit is refused before anything is allocated for it.

use std::io::{self, IoSlice, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{MAX_CHUNK, MAX_MESSAGE};

/// The size of a frame's header in bytes.
pub const HEADER_LEN: usize = 8;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Agent to host: [`crate::Hello`].
    Hello = 0x01,
    /// Host to agent: [`crate::BootPlan`].
    BootPlan = 0x02,
    /// Agent to host: [`crate::Ready`].
    Ready = 0x03,
    /// Agent to host: [`crate::Failed`].
    Failed = 0x04,
    /// Host to agent: [`crate::Shutdown`].
    Shutdown = 0x05,
    /// Agent to host: [`crate::Stopped`].
    Stopped = 0x06,
    /// Agent to host: [`crate::Owner`].
    Owner = 0x07,
    /// Host to agent: [`crate::OwnerTaken`].
    OwnerTaken = 0x08,
    /// Host to agent: [`crate::ExecRequest`].
    ExecRequest = 0x10,
    /// Agent to host: [`crate::Started`].
    Started = 0x11,
    /// Agent to host: [`crate::Refused`].
    Refused = 0x12,
    /// Host to agent: bytes for the process's standard input.
    Stdin = 0x20,
    /// Host to agent: standard input has ended. Empty.
    StdinEof = 0x21,
    /// Agent to host: [`crate::StdinTaken`].
    StdinTaken = 0x22,
    /// Agent to host: bytes of the process's standard output, or of its terminal.
    Stdout = 0x23,
    /// Agent to host: bytes of the process's standard error.
    Stderr = 0x24,
    /// Host to agent: [`crate::WindowSize`].
    Resize = 0x25,
    /// Host to agent: [`crate::Signal`].
    Signal = 0x26,
    /// Agent to host: [`crate::Exited`], the last frame of a process connection.
    Exited = 0x27,
    /// Host to agent: [`crate::Changed`].
    Changed = 0x30,
    /// Agent to host: [`crate::Refreshed`].
    Refreshed = 0x31,
    /// Host to agent: [`crate::TraceRequest`].
    TraceRequest = 0x40,
    /// Agent to host: [`crate::Tracing`].
    Tracing = 0x41,
    /// Agent to host: [`crate::TraceEvents`].
    TraceEvents = 0x42,
    /// Host to agent: [`crate::ClockProbe`].
    ClockProbe = 0x43,
    /// Agent to host: [`crate::ClockReading`].
    ClockReading = 0x44,
}

impl Kind {
    const ALL: [Kind; 26] = [
        Kind::Hello,
        Kind::BootPlan,
        Kind::Ready,
        Kind::Failed,
        Kind::Shutdown,
        Kind::Stopped,
        Kind::Owner,
        Kind::OwnerTaken,
        Kind::ExecRequest,
        Kind::Started,
        Kind::Refused,
        Kind::Stdin,
        Kind::StdinEof,
        Kind::StdinTaken,
        Kind::Stdout,
        Kind::Stderr,
        Kind::Resize,
        Kind::Signal,
        Kind::Exited,
        Kind::Changed,
        Kind::Refreshed,
        Kind::TraceRequest,
        Kind::Tracing,
        Kind::TraceEvents,
        Kind::ClockProbe,
        Kind::ClockReading,
    ];

    fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }

    /// The largest payload that this kind may carry, in bytes.
    pub fn limit(self) -> usize {
        match self {
            Kind::Stdin | Kind::Stdout | Kind::Stderr => MAX_CHUNK,
            Kind::StdinEof => 0,
            _ => MAX_MESSAGE,
        }
    }
}

/// A message with a frame kind of its own.
pub trait Message: Serialize + DeserializeOwned {
    /// The kind of the frame that carries it.
    const KIND: Kind;
}

/// Why a frame could not be sent or understood.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer used a kind that this version does not know.
    #[error("the peer sent a frame of unknown kind {0:#04x}")]
    UnknownKind(u8),
    /// The three bytes after the kind were not zero.
    #[error("the peer sent a frame with reserved bytes {0:02x?}")]
    Reserved([u8; 3]),
    /// The payload is longer than its kind allows.
    #[error("a {kind:?} frame of {len} bytes is over the limit of {limit}", limit = kind.limit())]
    TooLong {
        /// The kind of the frame.
        kind: Kind,
        /// The length that the header states, or that a message to be sent has.
        len: u64,
    },
    /// The connection ended within a frame.
    #[error("the connection ended within a frame")]
    Truncated,
    /// The frame is in order, but it is not the turn of its kind.
    #[error("a {got:?} frame arrived where {wanted} was expected")]
    Unexpected {
        /// The kind that arrived.
        got: Kind,
        /// What was expected, in words.
        wanted: &'static str,
    },
    /// The payload is not a message of its kind.
    #[error("the payload of a {kind:?} frame is malformed: {source}")]
    Malformed {
        /// The kind of the frame.
        kind: Kind,
        /// What postcard found.
        source: postcard::Error,
    },
    /// The payload holds more than its message.
    #[error("{extra} bytes follow the message in a {kind:?} frame")]
    Trailing {
        /// The kind of the frame.
        kind: Kind,
        /// The number of bytes left over.
        extra: usize,
    },
    /// Reading from or writing to the connection failed. `WouldBlock` from a non-blocking connection loses nothing:
    /// call again.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
}

/// One received frame; it borrows the reader's buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The bytes that it carries, within the limit of its kind.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// The message in this frame.
    ///
    /// # Errors
    /// [`FrameError::Unexpected`] if the frame is of another kind, [`FrameError::Malformed`] or
    /// [`FrameError::Trailing`] if the payload is not exactly one such message.
    pub fn message<M: Message>(&self) -> Result<M, FrameError> {
        if self.kind != M::KIND {
            return Err(FrameError::Unexpected {
                got: self.kind,
                wanted: std::any::type_name::<M>(),
            });
        }
        let (message, rest) =
            postcard::take_from_bytes(self.payload).map_err(|source| FrameError::Malformed {
                kind: self.kind,
                source,
            })?;
        match rest.len() {
            0 => Ok(message),
            extra => Err(FrameError::Trailing {
                kind: self.kind,
                extra,
            }),
        }
    }
}

/// The header of a frame of `len` payload bytes.
///
/// # Errors
/// [`FrameError::TooLong`] if the kind does not allow that many.
pub fn header(kind: Kind, len: usize) -> Result<[u8; HEADER_LEN], FrameError> {
    let Some(length) = u32::try_from(len).ok().filter(|_| len <= kind.limit()) else {
        return Err(FrameError::TooLong {
            kind,
            len: len as u64,
        });
    };
    let [a, b, c, d] = length.to_le_bytes();
    Ok([kind as u8, 0, 0, 0, a, b, c, d])
}

fn parse_header(bytes: [u8; HEADER_LEN]) -> Result<(Kind, usize), FrameError> {
    let [kind, r0, r1, r2, length @ ..] = bytes;
    let kind = Kind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
    if [r0, r1, r2] != [0; 3] {
        return Err(FrameError::Reserved([r0, r1, r2]));
    }
    let len = u32::from_le_bytes(length) as usize;
    if len > kind.limit() {
        return Err(FrameError::TooLong {
            kind,
            len: len as u64,
        });
    }
    Ok((kind, len))
}

/// A message as the bytes of one frame.
///
/// # Errors
/// [`FrameError::TooLong`] if the message is over [`MAX_MESSAGE`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, FrameError> {
    let mut bytes = postcard::to_extend(message, vec![0; HEADER_LEN]).map_err(|source| {
        FrameError::Malformed {
            kind: M::KIND,
            source,
        }
    })?;
    let head = header(M::KIND, bytes.len() - HEADER_LEN)?;
    bytes[..HEADER_LEN].copy_from_slice(&head);
    Ok(bytes)
}

/// Sends one message. The connection must be blocking.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is sent; [`FrameError::Io`] if the connection fails.
pub fn write_message<M: Message>(to: &mut impl Write, message: &M) -> Result<(), FrameError> {
    to.write_all(&encode(message)?)?;
    Ok(())
}

/// Sends one frame of raw bytes, with one system call where the connection takes it whole. The connection must be
/// blocking.
///
/// # Errors
/// [`FrameError::TooLong`] before anything is sent; [`FrameError::Io`] if the connection fails.
pub fn write_frame(to: &mut impl Write, kind: Kind, payload: &[u8]) -> Result<(), FrameError> {
    let head = header(kind, payload.len())?;
    let mut parts = [IoSlice::new(&head), IoSlice::new(payload)];
    let mut left = &mut parts[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match to.write_vectored(left) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero).into()),
            Ok(sent) => IoSlice::advance_slices(&mut left, sent),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Takes frames from a connection, blocking or not, one at a time.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    head: [u8; HEADER_LEN],
    payload: Vec<u8>,
    /// How many bytes of the frame in progress have arrived, header included.
    filled: usize,
}

impl<R: Read> FrameReader<R> {
    /// Reads frames from `from`, on which the handshake is done.
    pub fn new(from: R) -> Self {
        FrameReader {
            from,
            head: [0; HEADER_LEN],
            payload: Vec::new(),
            filled: 0,
        }
    }

    /// The connection that is read.
    pub fn get_ref(&self) -> &R {
        &self.from
    }

    /// The next frame, or `None` if the connection ended between two frames.
    ///
    /// # Errors
    /// See [`FrameError`]. After `Io` with `WouldBlock` or a time-out the call may be repeated and goes on where it
    /// stopped; after any other error the connection is of no use.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        while self.filled < HEADER_LEN {
            match read_some(&mut self.from, &mut self.head[self.filled..])? {
                0 if self.filled == 0 => return Ok(None),
                0 => return Err(FrameError::Truncated),
                n => self.filled += n,
            }
        }
        let (kind, len) = parse_header(self.head)?;
        self.payload.resize(len, 0);
        while self.filled < HEADER_LEN + len {
            match read_some(
                &mut self.from,
                &mut self.payload[self.filled - HEADER_LEN..],
            )? {
                0 => return Err(FrameError::Truncated),
                n => self.filled += n,
            }
        }
        self.filled = 0;
        Ok(Some(Frame {
            kind,
            payload: &self.payload,
        }))
    }

    /// The next frame's message, where the protocol allows no other kind.
    ///
    /// # Errors
    /// As [`Self::next_frame`] and [`Frame::message`]; an end of the connection is [`FrameError::Truncated`].
    pub fn next_message<M: Message>(&mut self) -> Result<M, FrameError> {
        self.next_frame()?.ok_or(FrameError::Truncated)?.message()
    }
}

fn read_some(from: &mut impl Read, into: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(into) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

#[cfg(test)]
#[path = "frame_test.rs"]
mod tests;
