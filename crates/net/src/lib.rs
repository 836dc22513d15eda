//! User-mode networking for one sandbox: passt, published ports, the resolver and egress rules.
//!
//! One passt process serves one sandbox and owns its host-side sockets, so no privilege, bridge or interface is needed.
//! passt and the virtual machine both speak Ethernet frames with a length in front on a stream socket; between them
//! sits a relay of ours that lets only permitted frames out:
//!
//! ```text
//!   QEMU -netdev stream  <-- Network::guest_end -->  relay (rules)  <-- socketpair -->  passt  -->  host's network
//! ```
//!
//! The guest's addresses are fixed ([`GuestSettings`]) and travel in the boot plan: nothing in the guest asks by DHCP.
//! Only IPv4 is carried. This crate knows nothing of images or of what runs in the guest.

mod egress;
mod network;
mod passt;
mod ports;
mod relay;
mod resolver;
mod settings;

pub use network::{Network, NetworkSpec, StartError, start};
pub use ports::{ParsePortError, PortError, Protocol, PublishedPort};
pub use resolver::{ResolverConfig, ResolverError};
pub use settings::GuestSettings;
