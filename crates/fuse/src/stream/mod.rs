//! FUSE on byte streams: what `/dev/fuse` gives, sent as it is to a server elsewhere, and its replies sent back.
//!
//! A stream carries messages one after the other and nothing else: requests to the host (each begins with an
//! [`InHeader`]), replies to the client (with an [`OutHeader`]). Both begin with their length, so nothing needs to be put
//! around them. Nobody waits for a reply before sending the next request, and replies come in any order, along the
//! stream of their request. A message to the client with the number 0 is a notification, which goes to its kernel like any
//! reply; this server sends none.
//!
//! The host's end is a [`Service`], the client's a [`Relay`]. Whatever ends a stream ends the mount: its users get
//! errors, and nobody waits for ever.

mod buffers;
mod messages;
mod outgoing;
mod relay;
mod service;
mod worker;

#[cfg(test)]
mod messages_test;

use rustix::io::Errno;
use thiserror::Error;

#[cfg(feature = "testing")]
pub(crate) use relay::replies_to;
pub use relay::{Relay, RelayError};
pub use service::{ServeError, Service};

use crate::server::DATA_LIMIT;
use crate::wire::{InHeader, OutHeader};

/// The longest request in bytes: the most data, and as much room for arguments as the kernel wants there to be.
pub const REQUEST_LIMIT: usize = DATA_LIMIT + 4096;
/// The longest reply in bytes.
pub const REPLY_LIMIT: usize = size_of::<OutHeader>() + DATA_LIMIT;
/// How many streams a client has at most: each has a processor's work with copying, and a buffer of the client's for the
/// longest request.
pub const STREAMS_LIMIT: usize = 4;
/// How many threads serve a client at most, and so how many of its requests are in work at once.
pub const WORKERS_LIMIT: usize = 64;

/// Why a stream ended before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum StreamError {
    #[error("a message is said to have {len} bytes; {least} to {most} are possible")]
    Length {
        len: usize,
        least: usize,
        most: usize,
    },
    #[error("the stream ended within a message")]
    Cut,
    #[error("the server has gone")]
    Gone,
    #[error("the stream broke: {0}")]
    Broken(#[from] Errno),
    #[error("/dev/fuse took no reply, or gave no request: {0}")]
    Device(#[source] Errno),
}

/// How long a message may be, in bytes.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    least: usize,
    most: usize,
}

/// Towards the host.
const REQUESTS: Bounds = Bounds {
    least: size_of::<InHeader>(),
    most: REQUEST_LIMIT,
};
/// Towards the client.
const REPLIES: Bounds = Bounds {
    least: size_of::<OutHeader>(),
    most: REPLY_LIMIT,
};

/// Ends a stream for both ends and all of their threads.
fn end(stream: &std::os::fd::OwnedFd) {
    // It fails if the other end has gone already, which is as well.
    let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
}
