//! What `kvm_requests`, its guest, and the program that counts the guest's exits agree on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Requests of each kind that are counted.
pub const REQUESTS: u32 = 500;
/// The CPUID leaf by whose subleaf the guest says which phase begins or ends: no machine has such a leaf.
pub const MARKS: u32 = 0x4000_f000;
/// The leaf by whose subleaf it says how many interrupts of virtio devices it had in the phase that has ended.
pub const INTERRUPTS: u32 = 0x4000_f001;
/// Added to a phase's number when it ends.
pub const END: u32 = 0x100;
/// The frames of the network phase: EtherType "local experimental" (IEEE 802, section 9.2.3).
pub const ETHER_TYPE: [u8; 2] = [0x88, 0xb5];
/// The port of the host's vsock to which the guest connects.
pub const VSOCK_PORT: u32 = 1024;

/// What happens in each phase, by its number.
pub const PHASES: [&str; 8] = [
    "nothing",
    "console, 16 bytes",
    "block, read 4 KiB",
    "block, write 4 KiB",
    "block, flush",
    "net, frame and echo",
    "vsock, byte and echo",
    "pmem, flush",
];

/// What happened in a phase.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Phase {
    /// How long it took.
    pub seconds: f64,
    /// The requests that the guest sent.
    pub requests: u32,
    /// The interrupts that it had of virtio devices.
    pub interrupts: u32,
    /// Exits by the hardware's reason.
    pub exits: BTreeMap<String, u32>,
    /// Writes of model-specific registers, by register.
    pub registers: BTreeMap<String, u32>,
    /// Exits to user space by KVM's reason.
    pub user: BTreeMap<String, u32>,
}
