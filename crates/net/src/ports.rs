//! Published ports: `[ADDRESS:]HOST:GUEST[/tcp|udp]`, and the claim on their host side.

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The transport protocol of a published port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port of the host whose connections arrive in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// The host's address that listens; 0.0.0.0 means all of them.
    pub address: Ipv4Addr,
    /// The host's port; 0 asks for any free one.
    pub host: u16,
    /// The guest's port, never 0.
    pub guest: u16,
    /// The protocol of both.
    pub protocol: Protocol,
}

/// A text that does not describe a published port.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ParsePortError {
    /// The number of fields between colons is not one, two or three.
    #[error(
        "`{0}` is no port to publish: write [ADDRESS:]HOST:GUEST[/tcp|udp], for example 8080:80"
    )]
    Form(String),
    /// The part behind the slash is neither `tcp` nor `udp`.
    #[error("`{text}`: the protocol `{protocol}` cannot be published: use tcp or udp")]
    Protocol {
        /// The whole text.
        text: String,
        /// What stands behind the slash.
        protocol: String,
    },
    /// The address is no IPv4 address.
    #[error("`{text}`: `{address}` is no IPv4 address (names and IPv6 are not supported)")]
    Address {
        /// The whole text.
        text: String,
        /// What stands in the place of the address.
        address: String,
    },
    /// A port is no number, or out of range; a range of ports counts as such, too.
    #[error(
        "`{text}`: `{port}` is no port: use one number from 1 to 65535 (an empty host port means any free one)"
    )]
    Port {
        /// The whole text.
        text: String,
        /// What stands in the place of the port.
        port: String,
    },
}

/// The host's side of a published port cannot be had.
#[derive(Debug, Error)]
pub enum PortError {
    /// Something on the host listens there already, or the same port was asked for twice.
    #[error(
        "port {}:{}/{} is in use on this host: choose another host port, or leave it empty for a free one",
        .0.address, .0.host, .0.protocol
    )]
    Busy(PublishedPort),
    /// The port is privileged.
    #[error(
        "port {}:{}/{} may not be opened by this user: choose a port from 1024 up, run as root, or lower \
         net.ipv4.ip_unprivileged_port_start",
        .0.address, .0.host, .0.protocol
    )]
    Privileged(PublishedPort),
    /// The address belongs to none of the host's interfaces.
    #[error(
        "port {}:{}/{}: this host does not have that address: use one of its own, 127.0.0.1 or 0.0.0.0",
        .0.address, .0.host, .0.protocol
    )]
    NoSuchAddress(PublishedPort),
    /// The kernel refused for another reason.
    #[error("port {port} cannot be opened: {source}")]
    Bind {
        /// The port as it was asked for.
        port: PublishedPort,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}/{}",
            self.address, self.host, self.guest, self.protocol
        )
    }
}

impl FromStr for PublishedPort {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (ports, protocol) = match text.split_once('/') {
            None => (text, Protocol::Tcp),
            Some((ports, "tcp")) => (ports, Protocol::Tcp),
            Some((ports, "udp")) => (ports, Protocol::Udp),
            Some((_, protocol)) => {
                return Err(ParsePortError::Protocol {
                    text: text.into(),
                    protocol: protocol.into(),
                });
            }
        };
        let fields: Vec<_> = ports.split(':').collect();
        let (address, host, guest) = match fields[..] {
            [guest] => (None, "", guest),
            [host, guest] => (None, host, guest),
            [address, host, guest] => (Some(address), host, guest),
            _ => return Err(ParsePortError::Form(text.into())),
        };
        let number = |field: &str| {
            field.parse().map_err(|_| ParsePortError::Port {
                text: text.into(),
                port: field.into(),
            })
        };
        let address = match address {
            None => Ipv4Addr::LOCALHOST,
            Some(word) => word.parse().map_err(|_| ParsePortError::Address {
                text: text.into(),
                address: word.into(),
            })?,
        };
        let host = if host.is_empty() { 0 } else { number(host)? };
        let guest = match number(guest)? {
            0 => {
                return Err(ParsePortError::Port {
                    text: text.into(),
                    port: guest.into(),
                });
            }
            guest => guest,
        };
        Ok(Self {
            address,
            host,
            guest,
            protocol,
        })
    }
}

/// Host ports that this process holds until passt takes them over.
///
/// The claim finds a busy port before passt starts, and picks the free ones. passt opens its own sockets, so the claim
/// ends a moment before; whoever is faster in that moment makes passt fail, which is reported as well.
#[derive(Debug)]
pub(crate) struct Claim {
    ports: Vec<PublishedPort>,
    sockets: Vec<OwnedFd>,
}

impl Claim {
    /// Opens every port of `wanted`; each gets a number.
    pub(crate) fn new(wanted: &[PublishedPort]) -> Result<Self, PortError> {
        let mut claim = Self {
            ports: Vec::new(),
            sockets: Vec::new(),
        };
        for port in wanted {
            let (socket, host) = open(port).map_err(|source| refused(*port, source))?;
            claim.ports.push(PublishedPort { host, ..*port });
            claim.sockets.push(socket);
        }
        Ok(claim)
    }

    /// Gives the ports back and returns them, each with its number.
    pub(crate) fn release(self) -> Vec<PublishedPort> {
        drop(self.sockets);
        self.ports
    }
}

fn open(port: &PublishedPort) -> io::Result<(OwnedFd, u16)> {
    let address = SocketAddrV4::new(port.address, port.host);
    Ok(match port.protocol {
        Protocol::Tcp => {
            let listener = TcpListener::bind(address)?;
            let number = listener.local_addr()?.port();
            (listener.into(), number)
        }
        Protocol::Udp => {
            let socket = UdpSocket::bind(address)?;
            let number = socket.local_addr()?.port();
            (socket.into(), number)
        }
    })
}

fn refused(port: PublishedPort, source: io::Error) -> PortError {
    match source.kind() {
        ErrorKind::AddrInUse => PortError::Busy(port),
        ErrorKind::PermissionDenied => PortError::Privileged(port),
        ErrorKind::AddrNotAvailable => PortError::NoSuchAddress(port),
        _ => PortError::Bind { port, source },
    }
}

#[cfg(test)]
#[path = "ports_test.rs"]
mod tests;
