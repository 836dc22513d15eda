//! What a snapshot keeps of a network card.

use serde::{Deserialize, Serialize};

/// The state of a network card: what its driver has read from it and relies on.
///
/// The stream is not in it: its other end is a process of the host that a clone does not have. A clone gets a stream of
/// its own, which begins with a new frame; frames that were under way are lost, as networks may lose them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetState {
    /// The hardware address.
    pub mac: [u8; 6],
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u16,
}
