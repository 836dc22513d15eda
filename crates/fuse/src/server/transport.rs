//! What a transport lends the server for one request.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use rustix::io::Errno;

use crate::passthrough::WriteAt;

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

    /// Writes them to `file`; how many were written.
    fn write_to(&self, file: BorrowedFd<'_>, place: WriteAt) -> Result<usize, Errno>;
}

/// The payload of all that is not a WRITE.
#[derive(Debug)]
pub struct NoData;

impl Payload for NoData {
    fn len(&self) -> usize {
        0
    }

    fn write_to(&self, _file: BorrowedFd<'_>, _place: WriteAt) -> Result<usize, Errno> {
        Ok(0)
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
