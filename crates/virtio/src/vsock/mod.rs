//! The socket device (virtio 1.2 section 5.10): stream connections between guest and host, without a network.
//!
//! The host's side is one Unix socket per sandbox, at a path that the caller chooses:
//!
//! - **host to guest**: a client connects to `<path>`, writes `CONNECT <port>\n` and reads `OK <n>\n` once the guest
//!   has accepted. If it refuses, a line that begins with `ERR ` comes instead and the connection is closed. All bytes
//!   after the two lines are payload. [`connect`] does this.
//! - **guest to host**: the guest connects to context id 2, port P; the device connects to `<path>_<P>`, and resets the
//!   guest's connection if nobody listens there.
//!
//! Each direction ends on its own: the end of input reaches the other side while output still flows. What the guest
//! sent before it closed a connection, or before it went away, still reaches the host.
//!
//! One thread serves the device, and it never waits for one connection alone.

mod client;
mod connection;
mod credit;
mod device;
mod from_guest;
mod greeting;
mod host_end;
mod muxer;
mod packet;
mod state;
mod to_guest;
mod worker;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use client::{ConnectError, connect};
pub use device::Vsock;
pub use muxer::MAX_CONNECTIONS;
pub use state::VsockState;

/// The host's context id (virtio 1.2 section 5.10.4).
pub const HOST_CID: u64 = 2;

/// What a vsock device is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VsockSpec {
    /// The guest's context id, from 3 to 2^32 - 2. It has a meaning only inside this guest: every sandbox may use the
    /// same.
    pub guest_cid: u64,
    /// Path of the host's socket, at most 96 bytes; nothing may be there yet. Removed when the device is dropped.
    pub socket: PathBuf,
}

/// Why a vsock device cannot be made.
#[derive(Debug, Error)]
pub enum VsockError {
    /// The context id belongs to somebody else.
    #[error("guest context id {cid} is reserved; use one from 3 to 4294967294")]
    ReservedCid {
        /// The context id asked for.
        cid: u64,
    },
    /// The path leaves no room for the suffix of guest-initiated connections.
    #[error("socket path {} is longer than {limit} bytes; use a shorter runtime directory", path.display())]
    PathTooLong {
        /// The path.
        path: PathBuf,
        /// The longest one.
        limit: usize,
    },
    /// The socket could not be bound.
    #[error("cannot listen on {}: {source}; if nothing uses it, remove it", path.display())]
    Bind {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The thread, epoll or permissions of the socket could not be set up.
    #[error("cannot set up the socket {}: {source}; check the limits on open files and threads", path.display())]
    SetUp {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
pub(crate) mod fake_driver;
#[cfg(test)]
mod tests;
