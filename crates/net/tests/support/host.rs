//! The host's side: a network namespace for the calling thread, in which nothing leads out of this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use cenote_net::{Network, NetworkSpec, StartError};
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use tempfile::TempDir;

use super::guest::Guest;

/// Stands for any host on the internet (RFC 5737, TEST-NET-3).
pub const WORLD: [u8; 4] = [203, 0, 113, 1];
/// Where clouds answer with the machine's credentials.
pub const METADATA: [u8; 4] = [169, 254, 169, 254];

/// A network and a mount namespace, which live as long as the thread, and a folder.
pub struct Host {
    folder: TempDir,
}

impl Host {
    /// Moves the calling thread, and what it starts from now on, into namespaces of their own, in which the loopback
    /// interface has the addresses above and /etc/resolv.conf says `resolver`.
    pub fn new(resolver: &str) -> Self {
        // SAFETY: the new namespaces are the thread's own; no file descriptor table is unshared.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
            .expect("these tests make network namespaces: run them as root");
        mount_change(
            "/",
            MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
        )
        .unwrap();
        let folder = tempfile::Builder::new()
            .prefix("cenote-net")
            .tempdir()
            .unwrap();
        let resolv_conf = folder.path().join("resolv.conf");
        fs::write(&resolv_conf, resolver).unwrap();
        let target =
            fs::canonicalize("/etc/resolv.conf").expect("this host has an /etc/resolv.conf");
        mount_bind(&resolv_conf, &target).unwrap();
        ip("link set lo up");
        for address in [WORLD, METADATA, [10, 0, 2, 2]] {
            ip(&format!(
                "address add {}/32 dev lo",
                std::net::Ipv4Addr::from(address)
            ));
        }
        Self { folder }
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("passt.log")
    }

    /// Starts a network that publishes `ports`.
    pub fn try_start(&self, ports: &[&str]) -> Result<(Network, Guest), StartError> {
        let spec = NetworkSpec {
            ports: ports.iter().map(|port| port.parse().unwrap()).collect(),
        };
        let (network, end) = cenote_net::start(&passt(), &spec, &self.log())?;
        let guest = Guest::new(end, network.settings());
        Ok((network, guest))
    }

    pub fn start(&self, ports: &[&str]) -> (Network, Guest) {
        self.try_start(ports)
            .unwrap_or_else(|error| panic!("{error}"))
    }
}

/// The passt under test: `CENOTE_TEST_PASST` is a command line (a loader and its arguments may stand in front), else
/// the one that is installed.
pub fn passt() -> Command {
    let line = std::env::var("CENOTE_TEST_PASST").unwrap_or_else(|_| "passt".to_owned());
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("CENOTE_TEST_PASST names a program"));
    command.args(words);
    command
}

fn ip(arguments: &str) {
    let status = Command::new("ip")
        .args(arguments.split(' '))
        .status()
        .expect("these tests need `ip` (iproute2)");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// Answers every connection with what it sends, until it closes.
pub fn tcp_echo(at: SocketAddrV4) -> SocketAddrV4 {
    let listener = TcpListener::bind(at).unwrap();
    let bound = SocketAddrV4::new(*at.ip(), listener.local_addr().unwrap().port());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buffer = vec![0; 64 * 1024];
                loop {
                    match stream.read(&mut buffer).unwrap() {
                        0 => return stream.shutdown(Shutdown::Write),
                        count => stream.write_all(&buffer[..count]).unwrap(),
                    }
                }
            });
        }
    });
    bound
}

/// Answers every datagram with `prefix` and the datagram.
pub fn udp_echo(at: SocketAddrV4, prefix: &'static [u8]) {
    let socket = UdpSocket::bind(at).unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            socket
                .send_to(&[prefix, &buffer[..count]].concat(), from)
                .unwrap();
        }
    });
}
