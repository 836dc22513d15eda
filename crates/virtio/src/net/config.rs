//! The configuration space (virtio 1.2 section 5.1.4).

use virtio_bindings::virtio_net::VIRTIO_NET_S_LINK_UP;
use zerocopy::little_endian::U16;
use zerocopy::{Immutable, IntoBytes};

use super::NetState;

/// `struct virtio_net_config`, as far as features are offered.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Config {
    mac: [u8; 6],
    status: U16,
    max_virtqueue_pairs: U16,
    mtu: U16,
}

impl Config {
    /// What the card `state` says of itself while its link is up, or down.
    pub fn new(state: NetState, up: bool) -> Self {
        Self {
            mac: state.mac,
            status: if up { VIRTIO_NET_S_LINK_UP as u16 } else { 0 }.into(),
            max_virtqueue_pairs: 1.into(),
            mtu: state.mtu.into(),
        }
    }
}
