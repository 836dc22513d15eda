//! Egress rules: which Ethernet frames may leave a sandbox.
//!
//! passt makes ordinary connections from the host, so a packet to the host's loopback or to a cloud's metadata service
//! would arrive with the host's identity. passt has no filter, and a route inside the guest is no boundary (its root
//! can remove it). So each frame is judged here, on the host, by its destination. Every frame is judged alone: only
//! fixed offsets of the Ethernet (IEEE 802.3) and IPv4 (RFC 791) headers are read, the same ones that passt reads.

use std::net::Ipv4Addr;

use crate::ports::{Protocol, PublishedPort};
use crate::settings::{FORWARDER, GATEWAY, PREFIX};

/// Bytes of an Ethernet header: two addresses and the type.
pub(crate) const ETHERNET_HEADER: usize = 14;
/// Bytes of an IPv4 header without options.
const IPV4_HEADER: usize = 20;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_ARP: u16 = 0x0806;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
/// RFC 791, section 3.1: the "more fragments" flag and the fragment offset; both zero in a whole packet.
const FRAGMENT: u16 = 0x3fff;
/// RFC 1035, section 4.2.
const DNS_PORT: u16 = 53;
const TCP_SYN: u8 = 0x02;
const TCP_ACK: u8 = 0x10;

/// The rules of one sandbox.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// Guest ports that the host forwards connections to: their answers may go to the gateway.
    published: Vec<(Protocol, u16)>,
}

/// Whether a guest may send to `address` at all (the sandbox's own network aside).
///
/// Refused: the guest's own network (a real one of that number on the host's side is not meant), 0.0.0.0/8 (Linux takes
/// 0.0.0.0 for loopback), 127.0.0.0/8, 169.254.0.0/16 (metadata services of clouds), and everything from 224.0.0.0 up
/// (multicast and broadcast would reach the host's neighbours on its link).
pub(crate) fn reachable(address: Ipv4Addr) -> bool {
    !(in_own_network(address)
        || address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.octets()[0] >= 224)
}

impl Rules {
    pub(crate) fn new(published: &[PublishedPort]) -> Self {
        Self {
            published: published
                .iter()
                .map(|port| (port.protocol, port.guest))
                .collect(),
        }
    }

    /// Whether `frame`, sent by the guest, may go to passt.
    pub(crate) fn permit(&self, frame: &[u8]) -> bool {
        match be16(frame, 12) {
            // passt answers for every address but the guest's own; nothing of it leaves the host.
            Some(TYPE_ARP) => true,
            Some(TYPE_IPV4) => frame
                .get(ETHERNET_HEADER..)
                .is_some_and(|packet| self.permit_packet(packet)),
            _ => false,
        }
    }

    fn permit_packet(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<IPV4_HEADER>() else {
            return false;
        };
        let header_length = usize::from(header[0] & 0x0f) * 4;
        if header[0] >> 4 != 4 || header_length < IPV4_HEADER {
            return false;
        }
        let destination = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        if reachable(destination) {
            return true;
        }
        let whole = be16(packet, 6).is_some_and(|field| field & FRAGMENT == 0);
        let Some(segment) = packet.get(header_length..).filter(|_| whole) else {
            return false;
        };
        match destination {
            FORWARDER => is_query(header[9], segment),
            GATEWAY => self.is_answer(header[9], segment),
            _ => false,
        }
    }

    /// An answer to a connection that came in through a published port.
    fn is_answer(&self, protocol: u8, segment: &[u8]) -> bool {
        let Some(port) = be16(segment, 0) else {
            return false;
        };
        match protocol {
            PROTOCOL_TCP => {
                let opens = segment
                    .get(13)
                    .is_none_or(|flags| flags & (TCP_SYN | TCP_ACK) == TCP_SYN);
                !opens && self.published.contains(&(Protocol::Tcp, port))
            }
            PROTOCOL_UDP => self.published.contains(&(Protocol::Udp, port)),
            _ => false,
        }
    }
}

fn is_query(protocol: u8, segment: &[u8]) -> bool {
    matches!(protocol, PROTOCOL_TCP | PROTOCOL_UDP) && be16(segment, 2) == Some(DNS_PORT)
}

fn in_own_network(address: Ipv4Addr) -> bool {
    let mask = u32::MAX << (32 - u32::from(PREFIX));
    address.to_bits() & mask == GATEWAY.to_bits() & mask
}

fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .map(|pair| u16::from_be_bytes(*pair))
}

#[cfg(test)]
#[path = "egress_test.rs"]
mod tests;
