//! A request's life, for whoever wants to see it.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::wire::Opcode;

/// Is told of every request that was served.
pub trait Observer: Debug + Send + Sync {
    /// After the reply was sent, on the thread that served it: must be quick.
    fn served(&self, served: &Served);

    /// Whether the request with this number is one of which [`Served::file_system`] is wanted, which costs two readings of the
    /// clock for each system call.
    fn traces(&self, _unique: u64) -> bool {
        false
    }
}

/// A request that was served.
#[derive(Debug, Clone, Copy)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Served {
    /// `None` for an operation that the server does not know.
    pub opcode: Option<Opcode>,
    pub unique: u64,
    pub node: u64,
    pub uid: u32,
    pub pid: u32,
    pub error: Option<Errno>,
    /// Of the file, as many as were read or written.
    pub bytes: u64,
    /// When the transport had it whole.
    pub arrived: Instant,
    /// When a thread took it up.
    pub begun: Instant,
    /// The time in system calls on what is shared, if [`Observer::traces`] says so; else zero.
    pub file_system: Duration,
    /// When the reply was sent. A lock that is waited for is answered later than this.
    pub done: Instant,
}
