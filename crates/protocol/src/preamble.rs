//! The eight bytes that open every connection, in both directions, and stay the same in every version.
//!
//! | offset | size | content |
//! |---|---|---|
//! | 0 | 4 | `CNTE` |
//! | 4 | 4 | version, little-endian |
//!
//! Each side sends its own before it waits for the other's, so a handshake costs no extra round trip.

use std::io::{self, Read, Write};

use crate::VERSION;

/// The first four bytes of a connection.
pub const MAGIC: [u8; 4] = *b"CNTE";

/// The size of the preamble in bytes.
pub const PREAMBLE_LEN: usize = 8;

/// Which end of the connection we are; it decides how a mismatch is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// We are the host, the peer is an agent.
    Host,
    /// We are the agent, the peer is a host.
    Guest,
}

/// Why a connection ended before its first frame.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer sent something else than a preamble.
    #[error(
        "the peer's first bytes are {0:02x?}, not Cenote's protocol: something else listens on this port"
    )]
    NotCenote([u8; PREAMBLE_LEN]),
    /// Seen by the host: the agent is of another version.
    #[error(
        "the guest agent speaks protocol {theirs}, this cenote speaks {VERSION}: the agent comes from another \
         release; remove the cached initramfs or build cenote again"
    )]
    OtherAgent {
        /// The agent's version.
        theirs: u32,
    },
    /// Seen by the agent: the host is of another version.
    #[error(
        "the host's cenote speaks protocol {theirs}, this guest agent speaks {VERSION}: the agent comes from another \
         release; remove the cached initramfs or build cenote again"
    )]
    OtherHost {
        /// The host's version.
        theirs: u32,
    },
    /// The connection failed or ended within the preamble.
    #[error("the connection broke during the handshake: {0}")]
    Io(#[from] io::Error),
}

/// The preamble of this version.
pub fn preamble() -> [u8; PREAMBLE_LEN] {
    preamble_of(VERSION)
}

fn preamble_of(version: u32) -> [u8; PREAMBLE_LEN] {
    let mut bytes = [0; PREAMBLE_LEN];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..].copy_from_slice(&version.to_le_bytes());
    bytes
}

/// Sends our preamble, then reads and judges the peer's. Call it first on every connection.
///
/// # Errors
/// See [`HandshakeError`]; after any of them the connection is of no use.
pub fn handshake<S: Read + Write>(stream: &mut S, side: Side) -> Result<(), HandshakeError> {
    // A peer of another version may be gone already; what it left to read explains more than the failed write.
    let sent = stream.write_all(&preamble()).and_then(|()| stream.flush());
    let mut theirs = [0; PREAMBLE_LEN];
    stream.read_exact(&mut theirs)?;
    judge(theirs, side)?;
    Ok(sent?)
}

fn judge(bytes: [u8; PREAMBLE_LEN], side: Side) -> Result<(), HandshakeError> {
    let [a, b, c, d, version @ ..] = bytes;
    if [a, b, c, d] != MAGIC {
        return Err(HandshakeError::NotCenote(bytes));
    }
    match (u32::from_le_bytes(version), side) {
        (VERSION, _) => Ok(()),
        (theirs, Side::Host) => Err(HandshakeError::OtherAgent { theirs }),
        (theirs, Side::Guest) => Err(HandshakeError::OtherHost { theirs }),
    }
}

#[cfg(test)]
#[path = "preamble_test.rs"]
mod tests;
