//! What a snapshot keeps of a vsock device.

use serde::{Deserialize, Serialize};

/// The state of a vsock device.
///
/// Connections are not in it: their other ends are processes of the host that a clone does not have. After a restore the
/// guest is told by a transport reset event (virtio 1.2 section 5.10.6.7) to forget them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockState {
    /// The guest's context id.
    pub guest_cid: u64,
}
