//! The boundary "start this VM with these devices", and its implementations.
//!
//! A caller describes a machine ([`Machine`]) and gets a running one ([`Vm`]). What stands behind it is one folder per
//! implementation: [`qemu`], a child process whose devices are ours over vhost-user. [`kvm`] tells whether this host's
//! /dev/kvm runs guests at all.
//!
//! Knows nothing of containers.

pub mod kvm;
pub mod machine;
pub mod qemu;

pub use machine::{Disk, Machine, Pmem, Stopped, Vm};
