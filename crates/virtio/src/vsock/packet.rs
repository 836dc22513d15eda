//! The header in front of every vsock packet (virtio 1.2 section 5.10.6), and its words.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of the header in bytes.
pub const HEADER_LEN: usize = size_of::<Header>();

/// The only socket type served: a byte stream (section 5.10.6.2).
pub const TYPE_STREAM: u16 = 1;

/// SHUTDOWN flag: the sender will receive no more data (section 5.10.6.6.1).
pub const SHUTDOWN_RECEIVE: u32 = 1;
/// SHUTDOWN flag: the sender will send no more data.
pub const SHUTDOWN_SEND: u32 = 2;
/// Both: the connection is over.
pub const SHUTDOWN_BOTH: u32 = SHUTDOWN_RECEIVE | SHUTDOWN_SEND;

/// What a packet asks for (section 5.10.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Op {
    /// Open a connection.
    Request = 1,
    /// The connection is accepted.
    Response = 2,
    /// The connection does not exist or is over, at once.
    Reset = 3,
    /// One or both directions end.
    Shutdown = 4,
    /// Payload.
    Data = 5,
    /// The sender's buffer space, unasked or asked for.
    CreditUpdate = 6,
    /// Asks for a credit update.
    CreditRequest = 7,
}

impl Op {
    /// The operation with number `op`, if there is one.
    pub fn from_number(op: u16) -> Option<Self> {
        use Op::*;
        [
            Request,
            Response,
            Reset,
            Shutdown,
            Data,
            CreditUpdate,
            CreditRequest,
        ]
        .into_iter()
        .find(|o| *o as u16 == op)
    }
}

/// `struct virtio_vsock_hdr`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Header {
    /// Context id of the sender.
    pub src_cid: U64,
    /// Context id of the receiver.
    pub dst_cid: U64,
    /// Port of the sender.
    pub src_port: U32,
    /// Port of the receiver.
    pub dst_port: U32,
    /// Payload bytes that follow.
    pub len: U32,
    /// Socket type.
    pub kind: U16,
    /// Number of an [`Op`].
    pub op: U16,
    /// Flags of the operation.
    pub flags: U32,
    /// Size of the sender's receive buffer in bytes.
    pub buf_alloc: U32,
    /// Bytes that have left the sender's receive buffer so far, modulo 2^32.
    pub fwd_cnt: U32,
}
