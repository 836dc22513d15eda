//! What a snapshot keeps of a machine, beside its RAM and its files.

use cenote_virtio::mmio::TransportState;
use serde::{Deserialize, Serialize};

use crate::arch::{PlatformState, VcpuState};

/// A paused machine. A new one with the same memory, CPUs and devices can go on from it.
#[derive(Serialize, Deserialize)]
pub struct VmState {
    /// What all CPUs share.
    pub platform: PlatformState,
    /// The CPUs, by number.
    pub vcpus: Vec<VcpuState>,
    /// The devices, in order: the virtio-pmem ones come first.
    pub devices: Vec<TransportState>,
}

#[cfg(test)]
#[path = "state_test.rs"]
mod tests;
