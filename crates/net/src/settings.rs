//! What a guest must set on its interface: fixed addresses, and the resolver that it may use.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::egress;
use crate::resolver::ResolverConfig;

/// The guest's own address. Every sandbox has the same one: no two share a network.
pub(crate) const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 15);
/// The default gateway: passt. Connections to published ports seem to come from it.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);
/// Queries to this address go to the host's first resolver, wherever that is.
pub(crate) const FORWARDER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// The length of the network's prefix, in bits.
pub(crate) const PREFIX: u8 = 24;
/// The guest's Ethernet address: locally administered, with the IPv4 address in its tail.
pub(crate) const GUEST_MAC: [u8; 6] = [0x02, 0x00, 10, 0, 2, 15];
/// passt's Ethernet address.
pub(crate) const GATEWAY_MAC: [u8; 6] = [0x02, 0x00, 10, 0, 2, 2];
/// The largest IPv4 packet on the link, in bytes: 65,535 less an Ethernet header, rounded down to words of four bytes.
pub(crate) const MTU: u16 = 65_520;

/// The settings of the guest's only network interface, decided by the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestSettings {
    /// The interface's IPv4 address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix, in bits.
    pub prefix: u8,
    /// The default gateway.
    pub gateway: Ipv4Addr,
    /// The interface's Ethernet address, to be given to the virtual device.
    pub mac: [u8; 6],
    /// The largest packet, in bytes, without the Ethernet header.
    pub mtu: u16,
    /// Resolvers in order of preference; empty when the host has none that IPv4 reaches.
    pub nameservers: Vec<Ipv4Addr>,
    /// Domains that the resolver tries behind a name without dots.
    pub search: Vec<String>,
}

impl GuestSettings {
    /// Settings for a guest of a host with `resolver`.
    ///
    /// A resolver that the guest may reach is handed over as it is. If there is none, but the host has one out of the
    /// guest's reach (on its loopback, say), the guest gets [`FORWARDER`], which passt translates.
    pub(crate) fn new(resolver: &ResolverConfig) -> Self {
        let mut nameservers: Vec<_> = resolver
            .nameservers
            .iter()
            .copied()
            .filter(|address| egress::reachable(*address))
            .collect();
        if nameservers.is_empty() && !resolver.nameservers.is_empty() {
            nameservers.push(FORWARDER);
        }
        Self {
            address: GUEST,
            prefix: PREFIX,
            gateway: GATEWAY,
            mac: GUEST_MAC,
            mtu: MTU,
            nameservers,
            search: resolver.search.clone(),
        }
    }

    /// Whether the guest resolves names through [`FORWARDER`].
    pub(crate) fn asks_forwarder(&self) -> bool {
        self.nameservers.contains(&FORWARDER)
    }
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
