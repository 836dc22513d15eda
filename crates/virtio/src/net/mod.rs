//! The network card (virtio 1.2 section 5.1): Ethernet frames between the guest and a stream socket.
//!
//! On the socket each frame follows its length (32 bits, big endian), as QEMU's `stream` network speaks it and passt
//! understands it. One thread serves one pair of queues; it wakes up for many frames at once where there are many:
//!
//! - **From the guest**: everything that waits in the queue goes out in one `sendmsg`, lengths and pieces of guest memory
//!   alternating. A frame that the socket takes in part stays at the head of the queue until it is writable again.
//! - **To the guest**: one `recvmsg` stores the rest of the frame that has begun in the guest's buffers, and what comes
//!   behind it in a small buffer of ours. So large frames are copied by the kernel alone, and small ones cost a fraction of
//!   a call each.
//!
//! Either way the guest gets one interrupt for all of them. Nothing is offloaded: checksums are the guest's, and no frame
//! is longer than the link's MTU.
//!
//! When the socket ends, or breaks its format, the link goes down; the guest can see it, and lives on.

mod config;
mod device;
#[cfg(test)]
mod fake_driver;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod link;
mod receive;
mod state;
mod transmit;

use std::os::fd::OwnedFd;

use thiserror::Error;

pub use device::Net;
pub use state::NetState;

/// Bytes of the length before each frame on the stream.
const PREFIX: usize = 4;
/// The longest frame on the stream, in bytes: an IPv4 packet cannot be longer, and passt sends no more.
const MAX_FRAME: usize = 65_535;
/// An Ethernet header, and so the shortest frame, in bytes.
const ETHERNET: usize = 14;
/// `struct virtio_net_hdr` before each frame in a queue, in bytes (section 5.1.6 with VIRTIO_F_VERSION_1).
const HEADER: usize = 12;
/// The MTUs that the specification (section 5.1.4) and the stream allow.
const MTUS: std::ops::RangeInclusive<u16> = 68..=(MAX_FRAME - ETHERNET) as u16;
/// The queue that the device fills (section 5.1.2).
const RECEIVE: u16 = 0;

/// What a network card is made of.
#[derive(Debug)]
pub struct NetSpec {
    /// A connected Unix stream socket on which each frame follows its length.
    pub stream: OwnedFd,
    /// The card's hardware address.
    pub mac: [u8; 6],
    /// The largest packet in bytes, without the Ethernet header: 68 to 65,521.
    pub mtu: u16,
}

/// Why a network card cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NetError {
    /// No frame of such packets is possible.
    #[error("a network card with an MTU of {mtu} bytes: it must be between {} and {}", MTUS.start(), MTUS.end())]
    Mtu {
        /// What was asked for.
        mtu: u16,
    },
}

#[cfg(test)]
mod tests;
