//! A FUSE server: a client (the kernel of a virtual machine, or the host's own) mounts a directory of the host.
//!
//! [`wire`] has the protocol's messages and checks them.

pub mod wire;
