//! Standard output and error on their way to the host.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cenote_protocol::frame::{encode, header};
use cenote_protocol::{Exited, Kind, MAX_CHUNK, Message, StdinTaken};
use rustix::event::PollFlags;
use rustix::io::{Errno, read};
use rustix::net::{SendFlags, send};

use super::input::Input;
use crate::connection::Connection;

/// How much of a stream is still sent after the process has ended: the largest pipe that Linux gives. Whatever the
/// process wrote is within it; what a child of it writes without end is not.
const MAX_LEFT: usize = 1 << 20;

/// One stream of the process.
#[derive(Debug)]
struct Stream {
    from: OwnedFd,
    kind: Kind,
    /// How much may still be read, once the process has ended.
    left: Option<usize>,
}

/// The streams, and the frames that the connection has not taken.
#[derive(Debug)]
pub(super) struct Output {
    standard: Option<Stream>,
    errors: Option<Stream>,
    scratch: Vec<u8>,
    pending: Vec<u8>,
    sent: usize,
    finished: bool,
}

impl Output {
    pub(super) fn new(standard: Option<OwnedFd>, errors: Option<OwnedFd>) -> Output {
        let stream = |kind| {
            move |from| Stream {
                from,
                kind,
                left: None,
            }
        };
        Output {
            standard: standard.map(stream(Kind::Stdout)),
            errors: errors.map(stream(Kind::Stderr)),
            scratch: vec![0; MAX_CHUNK],
            pending: Vec::new(),
            sent: 0,
            finished: false,
        }
    }

    pub(super) fn standard(&self) -> Option<BorrowedFd<'_>> {
        self.standard.as_ref().map(|stream| stream.from.as_fd())
    }

    pub(super) fn errors(&self) -> Option<BorrowedFd<'_>> {
        self.errors.as_ref().map(|stream| stream.from.as_fd())
    }

    /// Whether frames wait for the connection.
    pub(super) fn is_pending(&self) -> bool {
        self.sent < self.pending.len()
    }

    /// Reads each stream that has something, once, into a frame.
    pub(super) fn pump(&mut self, standard: PollFlags, errors: PollFlags) {
        if !standard.is_empty() {
            let stream = self.standard.take();
            self.standard = stream.and_then(|stream| self.read(stream));
        }
        if !errors.is_empty() {
            let stream = self.errors.take();
            self.errors = stream.and_then(|stream| self.read(stream));
        }
    }

    /// Reads a stream once; returns it unless it has ended.
    fn read(&mut self, mut stream: Stream) -> Option<Stream> {
        let most = stream.left.unwrap_or(MAX_CHUNK).min(MAX_CHUNK);
        match read(&stream.from, &mut self.scratch[..most]) {
            Ok(0) => None,
            Ok(count) => {
                self.push(stream.kind, count);
                stream.left = stream.left.map(|left| left - count);
                (stream.left != Some(0)).then_some(stream)
            }
            Err(Errno::INTR) => Some(stream),
            // After the process's end an empty stream is a finished one, whoever else holds it open.
            Err(Errno::AGAIN) => stream.left.is_none().then_some(stream),
            // EIO is how a terminal says that nobody has it open.
            Err(_) => None,
        }
    }

    fn push(&mut self, kind: Kind, count: usize) {
        // The chunk is within the limit of its kind, so there is a header for it.
        if let Ok(head) = header(kind, count) {
            self.pending.extend_from_slice(&head);
            self.pending.extend_from_slice(&self.scratch[..count]);
        }
    }

    fn push_message(&mut self, message: &impl Message) {
        // These messages are a few integers, which always fit.
        self.pending.extend(encode(message).unwrap_or_default());
    }

    /// Tells the host how much input was taken, so that it sends more.
    pub(super) fn report_taken(&mut self, input: &mut Input) {
        // One report at a time: a host that does not read must not make us collect them.
        if !self.is_pending() {
            let bytes = input.report();
            if bytes > 0 {
                self.push_message(&StdinTaken { bytes });
            }
        }
    }

    /// Sends what the connection takes now.
    pub(super) fn flush(&mut self, connection: &mut Connection) -> Result<(), Errno> {
        while self.is_pending() {
            match send(
                &*connection,
                &self.pending[self.sent..],
                SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
            ) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(errno),
            }
        }
        self.pending.clear();
        self.sent = 0;
        Ok(())
    }

    /// Notes that the process has ended: from now on only what is there already is read.
    pub(super) fn drain(&mut self) {
        for stream in [&mut self.standard, &mut self.errors].into_iter().flatten() {
            stream.left = Some(MAX_LEFT);
        }
    }

    /// After [`Self::drain`]: reads on while there is room, then adds the exit. True when all is sent.
    pub(super) fn finish(&mut self, exited: Exited) -> bool {
        while !self.is_pending() && (self.standard.is_some() || self.errors.is_some()) {
            self.pump(PollFlags::IN, PollFlags::IN);
        }
        if self.standard.is_none() && self.errors.is_none() && !self.finished {
            self.push_message(&exited);
            self.finished = true;
        }
        self.finished && !self.is_pending()
    }

    /// Gives the streams up.
    pub(super) fn close(&mut self) {
        self.standard = None;
        self.errors = None;
        self.pending.clear();
        self.sent = 0;
    }
}
