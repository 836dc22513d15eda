//! How connections come to be, from either side, and how they are refused.

use super::*;
use crate::vsock::muxer::MAX_CONNECTIONS;
use crate::vsock::{VsockError, VsockSpec};

#[test]
fn a_host_client_reaches_a_guest_port() {
    let mut scene = Scene::new();
    let mut client = scene.client("CONNECT 1025\nfirst");
    let request = scene.expect(Op::Request);
    assert_eq!(request.src_cid.get(), HOST_CID);
    assert_eq!(request.dst_port.get(), 1025);
    assert!(request.buf_alloc.get() > 0);
    assert!(is_quiet(&client), "no OK before the guest has accepted");

    let ports = Ports {
        host: request.src_port.get(),
        guest: 1025,
    };
    scene.say(Op::Response, ports);
    assert_eq!(read_line(&mut client), format!("OK {}\n", ports.host));
    assert_eq!(scene.expect_data(), b"first");
    scene.say_data(ports, b"second");
    let mut got = [0; 6];
    client.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"second");
}

#[test]
fn every_host_client_has_a_port_of_its_own() {
    let mut scene = Scene::new();
    let (_a, first) = scene.opened_by_host(7);
    let (_b, second) = scene.opened_by_host(7);
    assert_ne!(first, second);
}

#[test]
fn a_guest_that_refuses_is_told_to_the_client() {
    let mut scene = Scene::new();
    let client = scene.client("CONNECT 9\n");
    let request = scene.expect(Op::Request);
    scene.say(
        Op::Reset,
        Ports {
            host: request.src_port.get(),
            guest: 9,
        },
    );
    assert_eq!(read_all(&client), b"ERR refused by the guest\n");
    scene.expect_nothing();
}

#[test]
fn a_client_with_another_greeting_is_told_and_closed() {
    let mut scene = Scene::new();
    let client = scene.client("HELLO\n");
    scene.expect_nothing();
    assert_eq!(read_all(&client), b"ERR expected CONNECT <port>\n");
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn a_client_that_leaves_before_the_guest_answers_is_forgotten() {
    let mut scene = Scene::new();
    let client = scene.client("CONNECT 9\n");
    let request = scene.expect(Op::Request);
    drop(client);
    let reset = scene.expect(Op::Reset);
    assert_eq!(
        (reset.src_port, reset.dst_port),
        (request.src_port, request.dst_port)
    );
    assert!(scene.muxer.connections.is_empty());
    scene.say(
        Op::Response,
        Ports {
            host: request.src_port.get(),
            guest: 9,
        },
    );
    scene.expect(Op::Reset);
}

#[test]
fn clients_that_leave_in_the_middle_of_their_line_are_forgotten() {
    let mut scene = Scene::new();
    for line in ["", "CONN"] {
        let client = scene.client(line);
        scene.expect_nothing();
        assert_eq!(scene.muxer.connections.len(), 1);
        drop(client);
        scene.expect_nothing();
        assert!(scene.muxer.connections.is_empty());
    }
}

#[test]
fn the_guest_reaches_a_listener_of_the_host() {
    let mut scene = Scene::new();
    let (mut stream, ports) = scene.opened_by_guest(1024);
    scene.say_data(ports, b"ping");
    let mut got = [0; 4];
    stream.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ping");
    stream.write_all(b"pong").unwrap();
    assert_eq!(scene.expect_data(), b"pong");
}

#[test]
fn a_port_without_a_listener_is_reset() {
    let mut scene = Scene::new();
    scene.say(Op::Request, Ports { host: 77, guest: 5 });
    let reset = scene.expect(Op::Reset);
    assert_eq!((reset.src_port.get(), reset.dst_port.get()), (77, 5));
    // A socket file that nobody serves any more is no listener either.
    drop(scene.listener(78));
    scene.say(Op::Request, Ports { host: 78, guest: 5 });
    scene.expect(Op::Reset);
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn a_listener_that_takes_nobody_does_not_hold_up_the_device() {
    let mut scene = Scene::new();
    let _listener = scene.listener(5);
    // Far more than the listener's queue takes: those beyond it are reset instead of waited for.
    for guest in 0..1000 {
        scene.say(Op::Request, Ports { host: 5, guest });
        scene.pump();
        scene.receive().expect("an answer");
    }
}

#[test]
fn connections_are_bounded_and_waiting_clients_get_their_turn() {
    let mut scene = Scene::new();
    rustix_limit();
    let mut streams = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        streams.push(scene.client("CONN"));
        scene.pump();
    }
    assert_eq!(scene.muxer.connections.len(), MAX_CONNECTIONS);
    let _listener = scene.listener(5);
    scene.say(Op::Request, Ports { host: 5, guest: 1 });
    scene.expect(Op::Reset);

    let mut late = scene.client("CONNECT 9\n");
    scene.expect_nothing();
    drop(streams.pop());
    let request = scene.expect(Op::Request);
    scene.say(
        Op::Response,
        Ports {
            host: request.src_port.get(),
            guest: 9,
        },
    );
    assert!(read_line(&mut late).starts_with("OK "));
}

/// Both ends of all connections are descriptors of the test.
fn rustix_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).unwrap();
    let enough = limit
        .current
        .is_none_or(|limit| limit > 2 * MAX_CONNECTIONS as u64 + 200);
    assert!(
        enough,
        "this test needs 8400 open files; raise the hard limit (ulimit -Hn)"
    );
}

#[test]
fn a_path_without_room_for_ports_and_one_that_is_taken_are_refused() {
    let dir = TempDir::new().unwrap();
    let long = dir
        .path()
        .join("x".repeat(97 - dir.path().as_os_str().len() - 1));
    let spec = VsockSpec {
        guest_cid: 3,
        socket: long,
    };
    assert!(matches!(
        Muxer::bind(&spec),
        Err(VsockError::PathTooLong { limit: 96, .. })
    ));
    let spec = VsockSpec {
        guest_cid: 3,
        socket: dir.path().join("s"),
    };
    let first = Muxer::bind(&spec).unwrap();
    assert!(matches!(Muxer::bind(&spec), Err(VsockError::Bind { .. })));
    drop(first);
    assert!(!spec.socket.exists());
}
