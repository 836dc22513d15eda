//! What a snapshot keeps of a file-system device.

use serde::{Deserialize, Serialize};

use crate::queue::Chain;

/// The state of a file-system device: what its driver has read from it, and the requests that are under way.
///
/// What the client knows of the directory is the server's to keep.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, Clone)]
pub struct FsState {
    /// The tag.
    pub tag: String,
    /// Number of request queues.
    pub queues: u16,
    /// Requests that wait for a lock. A restored device answers them with EINTR: the lock's owners are not restored.
    pub waiting: Vec<Waiting>,
}

/// A request that is not answered yet.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize, Clone)]
pub struct Waiting {
    /// Index of its queue.
    pub queue: u16,
    /// The number that the reply repeats.
    pub unique: u64,
    /// Where the reply goes.
    pub chain: Chain,
}
