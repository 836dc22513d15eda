use proptest::prelude::*;

use super::{ETHERNET_HEADER, IPV4_HEADER, Rules};
use crate::ports::{Protocol, PublishedPort};

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn rules() -> Rules {
    let published =
        ["8080:80/tcp", "5300:53/udp"].map(|text| text.parse::<PublishedPort>().unwrap());
    assert_eq!(
        published.map(|port| port.protocol),
        [Protocol::Tcp, Protocol::Udp]
    );
    Rules::new(&published)
}

/// A frame of the guest: an IPv4 header without options and 20 bytes behind it.
fn frame(to: [u8; 4], protocol: u8, from_port: u16, to_port: u16, flags: u8) -> Vec<u8> {
    let mut frame = vec![0; ETHERNET_HEADER + IPV4_HEADER + 20];
    frame[12..14].copy_from_slice(&[0x08, 0x00]);
    let packet = &mut frame[ETHERNET_HEADER..];
    packet[0] = 0x45;
    packet[9] = protocol;
    packet[12..16].copy_from_slice(&[10, 0, 2, 15]);
    packet[16..20].copy_from_slice(&to);
    packet[20..22].copy_from_slice(&from_port.to_be_bytes());
    packet[22..24].copy_from_slice(&to_port.to_be_bytes());
    packet[33] = flags;
    frame
}

#[test]
fn the_world_is_in_reach() {
    for to in [
        [8, 8, 8, 8],
        [192, 168, 1, 1],
        [10, 0, 3, 2],
        [172, 16, 0, 1],
        [223, 255, 255, 255],
        [169, 253, 1, 1],
    ] {
        assert!(rules().permit(&frame(to, TCP, 40_000, 443, SYN)), "{to:?}");
        assert!(rules().permit(&frame(to, UDP, 40_000, 53, 0)), "{to:?}");
        assert!(rules().permit(&frame(to, ICMP, 0, 0, 0)), "{to:?}");
    }
}

#[test]
fn loopback_metadata_multicast_and_the_own_network_are_not() {
    let refused = [
        [127, 0, 0, 1],
        [127, 255, 255, 254],
        [0, 0, 0, 0],
        [0, 1, 2, 3],
        [169, 254, 169, 254],
        [169, 254, 0, 1],
        [224, 0, 0, 251],
        [239, 255, 255, 250],
        [240, 0, 0, 1],
        [255, 255, 255, 255],
        [10, 0, 2, 1],
        [10, 0, 2, 255],
    ];
    for to in refused {
        for protocol in [TCP, UDP, ICMP] {
            assert!(
                !rules().permit(&frame(to, protocol, 80, 53, SYN)),
                "{to:?} {protocol}"
            );
        }
    }
}

#[test]
fn the_forwarder_takes_queries_only() {
    let forwarder = [10, 0, 2, 3];
    assert!(rules().permit(&frame(forwarder, UDP, 40_000, 53, 0)));
    assert!(rules().permit(&frame(forwarder, TCP, 40_000, 53, SYN)));
    assert!(!rules().permit(&frame(forwarder, UDP, 40_000, 54, 0)));
    assert!(!rules().permit(&frame(forwarder, TCP, 40_000, 22, SYN)));
    assert!(!rules().permit(&frame(forwarder, ICMP, 40_000, 53, 0)));
}

/// A frame into the guest, from the gateway's `port`.
fn comes_in(protocol: u8, port: u16) -> Vec<u8> {
    let mut frame = frame([10, 0, 2, 15], protocol, port, 80, SYN);
    frame[26..30].copy_from_slice(&[10, 0, 2, 2]);
    frame
}

#[test]
fn the_gateway_takes_answers_of_published_ports_to_who_asked() {
    let gateway = [10, 0, 2, 2];
    for (protocol, published, other) in [(TCP, 80, UDP), (UDP, 53, TCP)] {
        let rules = rules();
        let answer = frame(gateway, protocol, published, 50_000, SYN);
        assert!(!rules.permit(&answer), "nobody has asked yet");
        rules.observe(&comes_in(other, 50_000));
        assert!(!rules.permit(&answer), "another protocol's port");
        rules.observe(&comes_in(protocol, 50_000));
        assert!(rules.permit(&answer));
        assert!(!rules.permit(&frame(gateway, protocol, published, 50_001, SYN)));
        assert!(!rules.permit(&frame(gateway, protocol, published + 1, 50_000, SYN)));
        assert!(!rules.permit(&frame(gateway, other, published, 50_000, SYN)));
        assert!(!rules.permit(&frame(gateway, ICMP, published, 50_000, SYN)));
    }
}

#[test]
fn only_the_gateway_makes_a_client() {
    let rules = rules();
    let mut elsewhere = comes_in(TCP, 50_000);
    elsewhere[26..30].copy_from_slice(&[10, 0, 2, 3]);
    rules.observe(&elsewhere);
    let mut fragment = comes_in(TCP, 50_000);
    fragment[ETHERNET_HEADER + 7] = 1;
    rules.observe(&fragment);
    rules.observe(&comes_in(TCP, 50_000)[..ETHERNET_HEADER + IPV4_HEADER + 1]);
    assert!(!rules.permit(&frame([10, 0, 2, 2], TCP, 80, 50_000, ACK)));
}

#[test]
fn a_fragment_hides_no_port() {
    let mut query = frame([10, 0, 2, 3], UDP, 40_000, 53, 0);
    query[ETHERNET_HEADER + 6] = 0x20; // more fragments
    assert!(!rules().permit(&query));
    query[ETHERNET_HEADER + 6] = 0x00;
    query[ETHERNET_HEADER + 7] = 0x01; // offset of 8 bytes
    assert!(!rules().permit(&query));
    query[ETHERNET_HEADER + 6] = 0x40; // don't fragment
    query[ETHERNET_HEADER + 7] = 0x00;
    assert!(rules().permit(&query));
}

#[test]
fn options_move_the_ports() {
    let mut query = frame([10, 0, 2, 3], UDP, 40_000, 53, 0);
    query[ETHERNET_HEADER] = 0x46;
    assert!(
        !rules().permit(&query),
        "the ports of a longer header lie four bytes on"
    );
    query.splice(ETHERNET_HEADER + 20..ETHERNET_HEADER + 20, [0; 4]);
    assert!(rules().permit(&query));
}

#[test]
fn what_is_no_ipv4_stays_inside() {
    let valid = frame([8, 8, 8, 8], TCP, 40_000, 443, SYN);
    for ether_type in [[0x86, 0xdd], [0x81, 0x00], [0x88, 0xa8], [0x00, 0x40]] {
        let mut other = valid.clone();
        other[12..14].copy_from_slice(&ether_type);
        assert!(!rules().permit(&other), "{ether_type:x?}");
    }
    for first in [0x65, 0x05, 0x44, 0x40] {
        let mut other = valid.clone();
        other[ETHERNET_HEADER] = first;
        assert!(!rules().permit(&other), "{first:#x}");
    }
    let mut arp = valid.clone();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    assert!(rules().permit(&arp));
}

#[test]
fn a_frame_that_is_cut_off_stays_inside() {
    let query = frame([10, 0, 2, 3], UDP, 40_000, 53, 0);
    let ports_end = ETHERNET_HEADER + IPV4_HEADER + 4;
    for length in 0..ports_end {
        assert!(!rules().permit(&query[..length]), "{length} bytes");
    }
    assert!(rules().permit(&query[..ports_end]));
}

proptest! {
    #[test]
    fn nothing_gets_to_a_refused_address(
        mut frame in proptest::collection::vec(any::<u8>(), 34..200),
        to in prop_oneof![Just([127u8, 0]), Just([169, 254]), Just([0, 0]), Just([239, 255])],
    ) {
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[30..32].copy_from_slice(&to);
        prop_assert!(!rules().permit(&frame));
    }
}
