//! What a transport lends the server for one request.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::io::{Errno, ReadWriteFlags};

use crate::wire::{Opcode, Request, WRITE_HEAD};

/// A request as it came.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The message, without the data of a WRITE. In memory that the client cannot change any more.
    pub head: &'a [u8],
    /// A WRITE's data, wherever they are.
    pub payload: &'a dyn Payload,
    /// When the message was there, if [`Server::arrival`](super::Server::arrival) wanted to know.
    pub arrived: Option<Instant>,
}

/// The data of a WRITE, which go from where they are to the file without a copy on the way.
pub trait Payload: std::fmt::Debug {
    /// How many bytes there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes them to `file` at `offset`, or at its end if `flags` have `APPEND`; how many were written.
    fn write_to(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> Result<usize, Errno>;
}

/// The payload of all that is not a WRITE.
#[derive(Debug)]
pub struct NoData;

impl Payload for NoData {
    fn len(&self) -> usize {
        0
    }

    fn write_to(
        &self,
        _file: BorrowedFd<'_>,
        _offset: u64,
        _flags: ReadWriteFlags,
    ) -> Result<usize, Errno> {
        Ok(0)
    }
}

/// The data of a WRITE, where the message is in one piece.
#[derive(Debug)]
pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    /// A whole message: everything but the data of a WRITE, and these.
    pub fn split(message: &'a [u8]) -> (&'a [u8], Bytes<'a>) {
        let writes = Request::header(message)
            .is_ok_and(|header| header.opcode == Opcode::Write as u32)
            && message.len() > WRITE_HEAD;
        let (head, data) = message.split_at(if writes { WRITE_HEAD } else { message.len() });
        (head, Bytes(data))
    }
}

impl Payload for Bytes<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn write_to(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> Result<usize, Errno> {
        rustix::io::pwritev2(file, &[IoSlice::new(self.0)], offset, flags)
    }
}

/// Where the reply goes.
pub trait Reply {
    /// Reads up to `count` bytes of `file` from `offset` on to where a reply's data belong; how many were read.
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> Result<usize, Errno>;

    /// Sends the reply, once.
    fn send(&mut self, unique: u64, body: Body<'_>) -> Result<(), Errno>;

    /// A reply to be sent later, by another thread, instead of now; `None` where the transport cannot.
    fn later(&mut self) -> Option<Box<dyn Later>>;
}

/// What follows a reply's header.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// Nothing, because it failed.
    Error(Errno),
    /// These bytes, one part after the other.
    Bytes(&'a [u8]),
    /// So many bytes that [`Reply::fill`] has put in place.
    Filled(usize),
}

/// A reply that is sent later, once.
pub trait Later: Send {
    /// Sends it: nothing but whether it went well.
    fn send(self: Box<Self>, unique: u64, result: Result<(), Errno>);
}
