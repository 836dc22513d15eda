//! Egress rules: which Ethernet frames may leave a sandbox.
//!
//! passt makes ordinary connections from the host, so a packet to the host's loopback or to a cloud's metadata service
//! would arrive with the host's identity. passt has no filter, and a route inside the guest is no boundary (its root
//! can remove it). So each frame is judged here, on the host, by its destination. Every frame is judged alone: only
//! fixed offsets of the Ethernet (IEEE 802.3) and IPv4 (RFC 791) headers are read, the same ones that passt reads.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// The rules of one sandbox.
///
/// The gateway stands for the host's own side of published ports: an answer goes to its address. So it may be sent to
/// from published ports only, and only to ports from which something came in before.
#[derive(Debug)]
pub(crate) struct Rules {
    published: Vec<(Protocol, u16)>,
    tcp_clients: Ports,
    udp_clients: Ports,
}

/// A set of port numbers that only grows.
#[derive(Debug)]
struct Ports(Box<[AtomicU64; 1 << 10]>);

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
        let published = published
            .iter()
            .map(|port| (port.protocol, port.guest))
            .collect();
        Self {
            published,
            tcp_clients: Ports::new(),
            udp_clients: Ports::new(),
        }
    }

    /// Remembers who sends `frame` into the guest, if the guest may answer there.
    pub(crate) fn observe(&self, frame: &[u8]) {
        let Some(packet) =
            ipv4_packet(frame).filter(|packet| packet.source == GATEWAY && packet.whole)
        else {
            return;
        };
        if let (Some(clients), Some(port)) =
            (self.clients(packet.protocol), be16(packet.segment, 0))
        {
            clients.insert(port);
        }
    }

    /// Whether `frame`, sent by the guest, may go to passt.
    pub(crate) fn permit(&self, frame: &[u8]) -> bool {
        match be16(frame, 12) {
            // passt answers for every address but the guest's own; nothing of it leaves the host.
            Some(TYPE_ARP) => true,
            Some(TYPE_IPV4) => ipv4_packet(frame).is_some_and(|packet| self.permit_packet(&packet)),
            _ => false,
        }
    }

    fn permit_packet(&self, packet: &Packet) -> bool {
        match packet.destination {
            destination if reachable(destination) => true,
            FORWARDER => packet.whole && is_query(packet),
            GATEWAY => packet.whole && self.is_answer(packet).unwrap_or(false),
            _ => false,
        }
    }

    /// Whether `packet` answers somebody who came in through a published port.
    fn is_answer(&self, packet: &Packet) -> Option<bool> {
        let (from, to) = (be16(packet.segment, 0)?, be16(packet.segment, 2)?);
        let protocol = match packet.protocol {
            PROTOCOL_TCP => Protocol::Tcp,
            PROTOCOL_UDP => Protocol::Udp,
            _ => return None,
        };
        Some(
            self.published.contains(&(protocol, from))
                && self.clients(packet.protocol)?.contains(to),
        )
    }

    fn clients(&self, protocol: u8) -> Option<&Ports> {
        match protocol {
            PROTOCOL_TCP => Some(&self.tcp_clients),
            PROTOCOL_UDP => Some(&self.udp_clients),
            _ => None,
        }
    }
}

impl Ports {
    fn new() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; 1 << 10]))
    }

    fn insert(&self, port: u16) {
        let (word, bit) = self.place(port);
        // Relaxed: the guest cannot answer before the frame has been passed on, which a socket orders.
        word.fetch_or(bit, Ordering::Relaxed);
    }

    fn contains(&self, port: u16) -> bool {
        let (word, bit) = self.place(port);
        word.load(Ordering::Relaxed) & bit != 0
    }

    fn place(&self, port: u16) -> (&AtomicU64, u64) {
        (&self.0[usize::from(port) / 64], 1 << (port % 64))
    }
}

/// What the rules look at in an IPv4 packet.
struct Packet<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: u8,
    /// No fragment: the ports stand in the segment.
    whole: bool,
    segment: &'a [u8],
}

/// The packet in `frame`, if there is one with a whole header.
fn ipv4_packet(frame: &[u8]) -> Option<Packet<'_>> {
    if be16(frame, 12) != Some(TYPE_IPV4) {
        return None;
    }
    let bytes = frame.get(ETHERNET_HEADER..)?;
    let header = bytes.first_chunk::<IPV4_HEADER>()?;
    let header_length = usize::from(header[0] & 0x0f) * 4;
    if header[0] >> 4 != 4 || header_length < IPV4_HEADER {
        return None;
    }
    Some(Packet {
        source: Ipv4Addr::new(header[12], header[13], header[14], header[15]),
        destination: Ipv4Addr::new(header[16], header[17], header[18], header[19]),
        protocol: header[9],
        whole: be16(header, 6)? & FRAGMENT == 0,
        segment: bytes.get(header_length..)?,
    })
}

fn is_query(packet: &Packet) -> bool {
    matches!(packet.protocol, PROTOCOL_TCP | PROTOCOL_UDP)
        && be16(packet.segment, 2) == Some(DNS_PORT)
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
