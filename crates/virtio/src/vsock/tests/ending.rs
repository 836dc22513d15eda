//! How connections end, one direction at a time or at once.

use std::net::Shutdown;

use super::*;
use crate::vsock::connection::Phase;
use crate::vsock::packet::{SHUTDOWN_BOTH, SHUTDOWN_RECEIVE, SHUTDOWN_SEND};

#[test]
fn the_end_of_input_reaches_the_guest_while_output_still_flows() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    client.write_all(b"input").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(scene.expect_data(), b"input");
    assert_eq!(scene.expect(Op::Shutdown).flags.get(), SHUTDOWN_SEND);
    scene.say_data(ports, b"output");
    scene.say_shutdown(ports, SHUTDOWN_BOTH);
    scene.expect(Op::Reset);
    assert_eq!(read_all(&client), b"output");
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn the_end_of_output_reaches_the_host_while_input_still_flows() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    scene.say_data(ports, b"output");
    scene.say_shutdown(ports, SHUTDOWN_SEND);
    assert_eq!(read_all(&client), b"output");
    client.write_all(b"input").unwrap();
    assert_eq!(scene.expect_data(), b"input");
    // With the host's end, both directions are over: the guest is told, and confirms.
    drop(client);
    assert_eq!(scene.expect(Op::Shutdown).flags.get(), SHUTDOWN_BOTH);
    scene.say(Op::Reset, ports);
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn a_host_that_hangs_up_is_told_after_its_last_bytes() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    client.write_all(b"last words").unwrap();
    drop(client);
    assert_eq!(scene.expect_data(), b"last words");
    assert_eq!(scene.expect(Op::Shutdown).flags.get(), SHUTDOWN_BOTH);
    // What the guest had under way is taken without an answer, and its close is confirmed.
    scene.say_data(ports, b"too late");
    scene.expect_nothing();
    scene.say_shutdown(ports, SHUTDOWN_BOTH);
    scene.expect(Op::Reset);
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn a_host_that_hangs_up_with_bytes_unread_is_a_hang_up() {
    let mut scene = Scene::new();
    let (client, ports) = scene.opened_by_host(5);
    scene.say_data(ports, b"never read");
    drop(client);
    assert_eq!(scene.expect(Op::Shutdown).flags.get(), SHUTDOWN_BOTH);
}

#[test]
fn a_host_that_reads_no_more_stops_the_guest() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    client.shutdown(Shutdown::Read).unwrap();
    scene.say_data(ports, b"unwanted");
    assert_eq!(scene.expect(Op::Shutdown).flags.get(), SHUTDOWN_RECEIVE);
    client.write_all(b"but it still writes").unwrap();
    assert_eq!(scene.expect_data(), b"but it still writes");
}

#[test]
fn a_guest_that_receives_no_more_stops_the_host() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    scene.say_shutdown(ports, SHUTDOWN_RECEIVE);
    let error = client.write_all(b"unwanted").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    scene.say_data(ports, b"but it still sends");
    scene.say_shutdown(ports, SHUTDOWN_SEND);
    scene.expect(Op::Reset);
    assert_eq!(read_all(&client), b"but it still sends");
}

#[test]
fn shutdown_flags_add_up() {
    let mut scene = Scene::new();
    let (client, ports) = scene.opened_by_host(5);
    scene.say_shutdown(ports, SHUTDOWN_SEND);
    scene.say_shutdown(ports, 0);
    scene.expect_nothing();
    scene.say_shutdown(ports, SHUTDOWN_RECEIVE);
    scene.expect(Op::Reset);
    assert_eq!(read_all(&client), b"");
}

/// Sends until bytes wait in the device because the host reads nothing. Returns how many were sent.
fn send_backlog(scene: &mut Scene, ports: Ports) -> usize {
    let mut sent = 0;
    while !scene
        .muxer
        .connections
        .values()
        .any(|connection| connection.host.has_backlog())
    {
        scene.say_data(ports, &[7; 60_000]);
        sent += 60_000;
        while scene.receive().is_some() {}
    }
    sent
}

/// Reads to the end while the device delivers.
fn read_slowly(scene: &mut Scene, mut stream: UnixStream) -> usize {
    let mut total = 0;
    let mut piece = vec![0; 10_000];
    loop {
        scene.pump();
        match stream.read(&mut piece).unwrap() {
            0 => return total,
            n => total += n,
        }
    }
}

#[test]
fn what_the_guest_sent_before_it_closed_reaches_a_slow_host() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(5);
    let sent = send_backlog(&mut scene, ports);
    scene.say_shutdown(ports, SHUTDOWN_BOTH);
    // The guest is free at once, and may even use the same ports again.
    scene.expect(Op::Reset);
    assert_eq!(
        scene.muxer.connections.values().next().unwrap().phase,
        Phase::Draining
    );
    std::fs::remove_file(scene.dir.path().join("vsock.sock_5")).unwrap();
    let (second, _) = scene.opened_by_guest(5);
    assert_eq!(read_slowly(&mut scene, stream), sent);
    assert_eq!(scene.muxer.connections.len(), 1);
    scene.say_data(ports, b"second");
    scene.say(Op::Reset, ports);
    assert_eq!(read_all(&second), b"second");
}

#[test]
fn what_the_guest_sent_before_it_went_away_reaches_a_slow_host() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(5);
    let waiting = scene.client("CONNECT 9\n");
    scene.expect(Op::Request);
    let greeting = scene.client("CONN");
    let sent = send_backlog(&mut scene, ports);
    let early = scene.client("CONNECT 10\n");
    scene.pump();
    scene.muxer.forget_guest();
    assert_eq!(read_slowly(&mut scene, stream), sent);
    assert_eq!(read_all(&waiting), b"", "no answer will come");
    assert!(
        is_quiet(&greeting),
        "a client that the guest does not know of is kept"
    );
    assert_eq!(scene.expect(Op::Request).dst_port.get(), 10);
    assert!(
        is_quiet(&early),
        "nor is one that the next driver will hear of"
    );
    assert_eq!(scene.muxer.connections.len(), 2);
}

#[test]
fn a_backlog_whose_host_hangs_up_is_dropped() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(5);
    send_backlog(&mut scene, ports);
    scene.say_shutdown(ports, SHUTDOWN_BOTH);
    scene.expect(Op::Reset);
    drop(stream);
    scene.expect_nothing();
    assert!(scene.muxer.connections.is_empty());
}

#[test]
fn a_reset_ends_both_directions() {
    let mut scene = Scene::new();
    let (client, ports) = scene.opened_by_host(5);
    scene.say_data(ports, b"before");
    scene.say(Op::Reset, ports);
    assert_eq!(read_all(&client), b"before");
    scene.expect_nothing();
    assert!(scene.muxer.connections.is_empty());
}
