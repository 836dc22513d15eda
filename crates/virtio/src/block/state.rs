//! What a snapshot keeps of a block device.

use serde::{Deserialize, Serialize};

/// The state of a block device: what its driver has read from it and relies on.
///
/// The bytes are in the file. A pause waits for every request that was taken, so that none is under way here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockState {
    /// Length of the disk in sectors of 512 bytes.
    pub sectors: u64,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// Whether flushes do nothing.
    pub ephemeral: bool,
    /// Number of queues.
    pub queues: u16,
    /// Serial number.
    pub id: String,
}
