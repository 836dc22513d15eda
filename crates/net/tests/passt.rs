//! The network as a guest and the host see it, with a real passt, in network namespaces that lead nowhere else.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;

use cenote_net::{PortError, StartError};
use support::guest::Guest;
use support::host::{Host, METADATA, WORLD, tcp_echo, udp_echo};

const NO_RESOLVER: &str = "";

fn at(address: [u8; 4], port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from(address), port)
}

#[test]
fn tcp_gets_out_and_back_unchanged() {
    let host = Host::new(NO_RESOLVER);
    let server = tcp_echo(at(WORLD, 8000));
    let (_network, mut guest) = host.start(&[]);
    let data: Vec<u8> = (0..2_000_000u32).map(|i| (i % 251) as u8).collect();
    let connection = guest.connect(server);
    assert!(guest.echo(connection, &data) == data);
}

#[test]
fn udp_gets_out_and_back() {
    let host = Host::new(NO_RESOLVER);
    udp_echo(at(WORLD, 8000), b"echo ");
    let (_network, mut guest) = host.start(&[]);
    let socket = guest.udp(40_000);
    guest.send_to(socket, b"hello", at(WORLD, 8000));
    assert_eq!(
        guest.receive_from(socket),
        (b"echo hello".to_vec(), at(WORLD, 8000))
    );
}

#[test]
fn a_resolver_on_the_hosts_loopback_answers() {
    let host = Host::new("nameserver 127.0.0.53\nsearch example.com\n");
    udp_echo(at([127, 0, 0, 53], 53), b"answer to ");
    let (network, mut guest) = host.start(&[]);
    assert_eq!(network.settings().search, ["example.com"]);
    let [nameserver] = network.settings().nameservers[..] else {
        panic!("{:?}", network.settings())
    };
    let socket = guest.udp(40_000);
    guest.send_to(socket, b"query", SocketAddrV4::new(nameserver, 53));
    assert_eq!(
        guest.receive_from(socket),
        (
            b"answer to query".to_vec(),
            SocketAddrV4::new(nameserver, 53)
        )
    );
}

#[test]
fn a_resolver_elsewhere_is_asked_directly() {
    let host = Host::new("nameserver 203.0.113.1\n");
    udp_echo(at(WORLD, 53), b"answer to ");
    let (network, mut guest) = host.start(&[]);
    assert_eq!(network.settings().nameservers, [Ipv4Addr::from(WORLD)]);
    let socket = guest.udp(40_000);
    guest.send_to(socket, b"query", at(WORLD, 53));
    assert_eq!(
        guest.receive_from(socket),
        (b"answer to query".to_vec(), at(WORLD, 53))
    );
}

/// Listeners that nobody may reach: each is asked in vain, then an ordinary connection is made. Frames keep their order,
/// so whatever came through would have been accepted by the kernel before that.
#[test]
fn loopback_metadata_and_the_hosts_10_0_2_2_are_out_of_reach() {
    let host = Host::new("nameserver 127.0.0.53\n");
    let forbidden = [
        at([127, 0, 0, 1], 80),
        at(METADATA, 80),
        at([10, 0, 2, 2], 80),
        at([127, 0, 0, 53], 80),
        at([10, 0, 2, 2], 22),
    ];
    let listeners = forbidden.map(|address| {
        let listener = TcpListener::bind(address).unwrap();
        listener.set_nonblocking(true).unwrap();
        listener
    });
    let datagrams = UdpSocket::bind(at(METADATA, 53)).unwrap();
    datagrams.set_nonblocking(true).unwrap();
    let server = tcp_echo(at(WORLD, 8000));
    let (_network, mut guest) = host.start(&["0:80", "0:53/udp"]);

    // Of the forwarder, only queries go on.
    for to in forbidden.into_iter().chain([at([10, 0, 2, 3], 80)]) {
        guest.connect(to);
    }
    let socket = guest.udp(40_000);
    guest.send_to(socket, b"credentials?", at(METADATA, 53));
    let connection = guest.connect(server);
    assert_eq!(guest.echo(connection, b"out"), b"out");

    for listener in &listeners {
        let error = listener.accept().expect_err("the guest got through");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        // That it could have been reached: the host can.
        drop(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        listener.accept().unwrap();
    }
    assert_eq!(
        datagrams.recv(&mut [0; 64]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}

/// Takes one connection to `port`, reads until the client closes, answers with `name` and what it read.
fn serve_one(guest: &mut Guest, port: u16, name: &[u8]) -> Ipv4Addr {
    let handle = guest.listen(port);
    let request = guest.receive_all(handle);
    let from = guest.remote(handle);
    guest.answer(handle, &[name, &request].concat());
    from
}

/// Sends a request to `to` and returns the answer.
fn ask(to: SocketAddrV4) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut stream = TcpStream::connect(to).unwrap();
        stream.write_all(b" heard it").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).unwrap();
        received
    })
}

#[test]
fn a_published_tcp_port_leads_into_the_guest() {
    let host = Host::new(NO_RESOLVER);
    let (network, mut guest) = host.start(&["0:80"]);
    let [port] = network.ports()[..] else {
        panic!("{:?}", network.ports())
    };
    assert_eq!((port.address, port.guest), (Ipv4Addr::LOCALHOST, 80));
    let client = ask(SocketAddrV4::new(port.address, port.host));
    assert_eq!(
        serve_one(&mut guest, 80, b"the guest"),
        network.settings().gateway
    );
    assert_eq!(client.join().unwrap(), b"the guest heard it");
}

#[test]
fn a_published_udp_port_leads_into_the_guest() {
    let host = Host::new(NO_RESOLVER);
    let (network, mut guest) = host.start(&["0:5353/udp"]);
    let port = network.ports()[0];
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_nonblocking(true).unwrap();
    let server = guest.udp(5353);
    client.send_to(b"ping", (port.address, port.host)).unwrap();
    let (data, from) = guest.receive_from(server);
    assert_eq!(data, b"ping");
    guest.send_to(server, b"pong", from);
    let (data, from) = guest.until("the client to be answered", |_| {
        let mut buffer = [0; 64];
        let (count, from) = client.recv_from(&mut buffer).ok()?;
        Some((buffer[..count].to_vec(), from))
    });
    assert_eq!(
        (data, from),
        (b"pong".to_vec(), (port.address, port.host).into())
    );
}

#[test]
fn a_port_opens_at_the_address_that_was_given_only() {
    let host = Host::new(NO_RESOLVER);
    let (network, mut guest) = host.start(&["203.0.113.1:8080:80"]);
    let refused = TcpStream::connect("127.0.0.1:8080").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    let client = ask(at(WORLD, 8080));
    serve_one(&mut guest, 80, b"the world");
    assert_eq!(client.join().unwrap(), b"the world heard it");
    assert_eq!(network.ports()[0].to_string(), "203.0.113.1:8080:80/tcp");
}

#[test]
fn two_sandboxes_publish_the_same_guest_port_at_once() {
    let host = Host::new(NO_RESOLVER);
    let mut sandboxes = [host.start(&["8081:80"]), host.start(&["8082:80"])];
    for (number, (network, guest)) in sandboxes.iter_mut().enumerate() {
        let port = network.ports()[0];
        let client = ask(SocketAddrV4::new(port.address, port.host));
        let name = format!("number {number}");
        serve_one(guest, 80, name.as_bytes());
        assert_eq!(client.join().unwrap(), (name + " heard it").into_bytes());
    }
}

#[test]
fn a_busy_port_is_an_error_that_names_it() {
    let host = Host::new(NO_RESOLVER);
    let (_first, _guest) = host.start(&["8080:80", "5300:53/udp"]);
    for (port, named) in [
        ("8080:81", "127.0.0.1:8080/tcp"),
        ("5300:54/udp", "127.0.0.1:5300/udp"),
    ] {
        let error = host.try_start(&[port]).map(drop).unwrap_err();
        assert!(
            matches!(&error, StartError::Port(PortError::Busy(_))),
            "{error:?}"
        );
        assert!(error.to_string().contains(named), "{error}");
    }
}

#[test]
fn what_passt_said_before_it_ended_is_reported() {
    let host = Host::new(NO_RESOLVER);
    let mut broken = std::process::Command::new("/bin/sh");
    broken.args(["-c", "echo Failed to bind port 8080 >&2; exit 1", "passt"]);
    let spec = cenote_net::NetworkSpec {
        ports: vec!["8080:80".parse().unwrap()],
    };
    let error = cenote_net::start(&broken, &spec, &host.log())
        .map(drop)
        .unwrap_err();
    assert!(
        matches!(&error, StartError::Ended { said, .. } if said == "Failed to bind port 8080"),
        "{error:?}"
    );
}

#[test]
fn a_privileged_port_can_be_published_by_root() {
    let host = Host::new(NO_RESOLVER);
    let (_network, mut guest) = host.start(&["80:8080"]);
    let client = ask(at([127, 0, 0, 1], 80));
    serve_one(&mut guest, 8080, b"eighty");
    assert_eq!(client.join().unwrap(), b"eighty heard it");
}

#[test]
fn dropping_the_network_ends_passt_and_frees_the_port() {
    let host = Host::new(NO_RESOLVER);
    let (network, guest) = host.start(&["8080:80"]);
    assert_eq!(children_of_this_thread(), 1);
    drop(network);
    assert_eq!(children_of_this_thread(), 0);
    drop(TcpListener::bind("127.0.0.1:8080").unwrap());
    drop(guest);
}

fn children_of_this_thread() -> usize {
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
    children.split_whitespace().count()
}

#[test]
fn passt_ends_when_its_monitor_is_killed() {
    const MONITOR: &str = "CENOTE_TEST_MONITOR";
    if std::env::var_os(MONITOR).is_some() {
        let host = Host::new(NO_RESOLVER);
        let (_network, _guest) = host.start(&["8080:80"]);
        let children = std::fs::read_to_string("/proc/thread-self/children").unwrap();
        println!("\npasst={children}");
        std::io::stdout().flush().unwrap();
        loop {
            std::thread::park();
        }
    }
    let mut monitor = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "passt_ends_when_its_monitor_is_killed",
            "--nocapture",
        ])
        .env(MONITOR, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = std::io::BufReader::new(monitor.stdout.take().unwrap());
    let line = std::io::BufRead::lines(output)
        .find_map(|line| line.unwrap().strip_prefix("passt=").map(str::to_owned));
    let pid: i32 = line
        .expect("the monitor printed passt's process id")
        .trim()
        .parse()
        .unwrap();
    let passt = rustix::process::pidfd_open(
        rustix::process::Pid::from_raw(pid).unwrap(),
        rustix::process::PidfdFlags::empty(),
    )
    .unwrap();
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let patience = rustix::event::Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut ended = [rustix::event::PollFd::new(
        &passt,
        rustix::event::PollFlags::IN,
    )];
    assert_eq!(
        rustix::event::poll(&mut ended, Some(&patience)).unwrap(),
        1,
        "passt outlived its monitor"
    );
}
