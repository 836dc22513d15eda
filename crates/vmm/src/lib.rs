//! A virtual machine on KVM, in this process.
//!
//! A [`VmSpec`] goes in, a running [`Vm`] comes out, with a handle to pause, resume, stop and wait for it. What the guest
//! has is what the specification names and nothing else: RAM, files that it maps ([`PmemSpec`]), virtio devices on
//! virtio-mmio, a console for early messages, and a way to power off.
//!
//! ```text
//! VmSpec ─> memory (RAM, pmem, register pages: slots) ─> devices ─> arch (kernel, tables, registers) ─> vCPU threads
//! ```
//!
//! What depends on the architecture is in [`arch`], behind the same few names for each.
//!
//! Knows nothing of containers, images or FUSE.

#![cfg(target_arch = "x86_64")]

mod arch;
mod control;
mod devices;
mod exit;
mod mapping;
mod memory;
mod spec;
mod state;
mod vcpu;
mod vm;

pub use arch::{Error as ArchError, PlatformState, VcpuState};
pub use exit::{Crash, Exit};
pub use spec::{PmemFile, PmemSpec, VmSpec};
pub use state::VmState;
pub use vm::{SaveError, StartError, Vm};
