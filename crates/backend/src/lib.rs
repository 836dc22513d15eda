//! The boundary "start this VM with these devices", and its implementations.
//!
//! A caller describes a machine ([`Machine`]) and gets a running one ([`Vm`]). What stands behind it is one folder per
//! implementation: [`kvm`], this process itself, and [`qemu`], a child process to which our devices are lent over
//! vhost-user.
//!
//! Knows nothing of containers.

mod backend;
pub mod kvm;
pub mod machine;
pub mod qemu;

pub use backend::{Backend, StartError};
pub use machine::{Disk, Machine, Pmem, Share, Stopped, Vm};
