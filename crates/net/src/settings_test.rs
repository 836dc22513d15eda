use std::net::Ipv4Addr;

use super::{FORWARDER, GuestSettings};
use crate::resolver::ResolverConfig;

fn nameservers_for(host: &[[u8; 4]]) -> Vec<Ipv4Addr> {
    let resolver = ResolverConfig {
        nameservers: host.iter().copied().map(Ipv4Addr::from).collect(),
        search: vec![],
    };
    GuestSettings::new(&resolver).nameservers
}

#[test]
fn a_resolver_in_reach_is_handed_over() {
    assert_eq!(
        nameservers_for(&[[192, 0, 2, 53]]),
        [Ipv4Addr::new(192, 0, 2, 53)]
    );
    assert_eq!(
        nameservers_for(&[[127, 0, 0, 53], [192, 0, 2, 53]]),
        [Ipv4Addr::new(192, 0, 2, 53)]
    );
}

#[test]
fn a_resolver_out_of_reach_is_reached_through_the_forwarder() {
    assert_eq!(nameservers_for(&[[127, 0, 0, 53]]), [FORWARDER]);
    assert_eq!(nameservers_for(&[[169, 254, 169, 253]]), [FORWARDER]);
    // A host that is itself a guest of QEMU's user-mode network.
    assert_eq!(nameservers_for(&[[10, 0, 2, 3]]), [FORWARDER]);
}

#[test]
fn a_host_without_a_resolver_gives_none() {
    assert_eq!(nameservers_for(&[]), [] as [Ipv4Addr; 0]);
}
