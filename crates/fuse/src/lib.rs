//! A FUSE server: a client (the kernel of a virtual machine, or the host's own) mounts a directory of the host.
//!
//! [`wire`] has the protocol's messages and checks them, [`passthrough`] carries operations out on a directory,
//! [`server`] joins the two, and a transport (for example [`device`], the host's `/dev/fuse`) brings requests to it.
//! [`stats`] counts them.

pub mod device;
mod host_time;
pub mod passthrough;
pub mod server;
pub mod stats;
pub mod stream;
#[cfg(feature = "testing")]
pub mod testing;
pub mod wire;
