//! A guest that breaks the rules: refused as the specification says, never a panic, never unbounded memory.

use super::*;
use crate::testing::RAM_SIZE;
use crate::vsock::packet::SHUTDOWN_SEND;

const PORTS: Ports = Ports {
    host: 5,
    guest: 50_000,
};

/// A connection is open; the guest lies; the connection is reset and gone, and another one works.
fn assert_resets_connection(lie: impl FnOnce(&mut Scene)) {
    let mut scene = Scene::new();
    let (stream, _) = scene.opened_by_guest(PORTS.host);
    lie(&mut scene);
    let reset = scene.expect(Op::Reset);
    assert_eq!(
        (reset.src_port.get(), reset.dst_port.get()),
        (PORTS.host, PORTS.guest)
    );
    assert_eq!(reset.src_cid.get(), HOST_CID);
    assert_eq!(read_all(&stream), b"");
    assert!(scene.muxer.connections.is_empty());
    let (mut client, _) = scene.opened_by_host(6);
    client.write_all(b"still alive").unwrap();
    assert_eq!(scene.expect_data(), b"still alive");
}

#[test]
fn a_second_request_for_the_same_ports() {
    assert_resets_connection(|scene| scene.say(Op::Request, PORTS));
}

#[test]
fn a_response_that_nobody_asked_for() {
    assert_resets_connection(|scene| scene.say(Op::Response, PORTS));
}

#[test]
fn an_operation_that_does_not_exist() {
    for op in [0, 8, u16::MAX] {
        assert_resets_connection(|scene| {
            let header = Header {
                op: op.into(),
                ..scene.header(Op::Data, PORTS)
            };
            scene.send(header, &[]);
        });
    }
}

#[test]
fn more_payload_announced_than_is_there() {
    for len in [4, 5, u32::MAX] {
        assert_resets_connection(|scene| {
            let header = Header {
                len: len.into(),
                ..scene.header(Op::Data, PORTS)
            };
            scene.send(header, b"abc");
        });
    }
}

#[test]
fn more_payload_than_credit() {
    assert_resets_connection(|scene| {
        let header = Header {
            len: (256 * 1024 + 1).into(),
            ..scene.header(Op::Data, PORTS)
        };
        scene.send(header, &vec![0; 256 * 1024 + 1]);
    });
}

#[test]
fn forwarding_what_was_never_sent() {
    assert_resets_connection(|scene| scene.say_forwarded(PORTS, 1));
}

#[test]
fn payload_after_the_end_of_payload() {
    assert_resets_connection(|scene| {
        scene.say_shutdown(PORTS, SHUTDOWN_SEND);
        scene.say_data(PORTS, b"more");
    });
}

#[test]
fn payload_outside_of_ram() {
    for addr in [RAM_SIZE, RAM_SIZE - 1, u64::MAX - 1] {
        assert_resets_connection(|scene| {
            let header = Header {
                len: 3.into(),
                ..scene.header(Op::Data, PORTS)
            };
            scene.guest.write(scene.page, header.as_bytes());
            scene.send_spans(&[
                Span {
                    addr: scene.page,
                    len: 44,
                },
                Span { addr, len: 3 },
            ]);
        });
    }
}

#[test]
fn a_packet_of_no_connection_is_reset_whatever_it_is() {
    let mut scene = Scene::new();
    for op in [
        Op::Response,
        Op::Shutdown,
        Op::Data,
        Op::CreditUpdate,
        Op::CreditRequest,
    ] {
        scene.say(op, PORTS);
        let reset = scene.expect(Op::Reset);
        assert_eq!(
            (reset.src_port.get(), reset.dst_port.get()),
            (PORTS.host, PORTS.guest)
        );
    }
    scene.send(
        Header {
            op: 99.into(),
            ..scene.header(Op::Data, PORTS)
        },
        &[],
    );
    scene.expect(Op::Reset);
    scene.say(Op::Reset, PORTS);
    scene.expect_nothing();
}

#[test]
fn another_socket_type_is_reset_in_its_own_words() {
    let mut scene = Scene::new();
    let _listener = scene.listener(PORTS.host);
    scene.send(
        Header {
            kind: 2.into(),
            ..scene.header(Op::Request, PORTS)
        },
        &[],
    );
    assert_eq!(scene.expect(Op::Reset).kind.get(), 2);
}

#[test]
fn another_context_is_reset_in_its_name() {
    let mut scene = Scene::new();
    let _listener = scene.listener(PORTS.host);
    for cid in [0, 1, 3, u64::MAX] {
        scene.send(
            Header {
                dst_cid: cid.into(),
                ..scene.header(Op::Request, PORTS)
            },
            &[],
        );
        assert_eq!(scene.expect(Op::Reset).src_cid.get(), cid);
    }
}

#[test]
fn a_packet_in_anothers_name_is_dropped() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(PORTS.host);
    for cid in [0, HOST_CID, GUEST_CID + 1, GUEST_CID | 1 << 32] {
        scene.send(
            Header {
                src_cid: cid.into(),
                len: 1.into(),
                ..scene.header(Op::Data, ports)
            },
            b"x",
        );
        scene.expect_nothing();
    }
    assert!(is_quiet(&stream));
}

#[test]
fn a_packet_shorter_than_its_header_is_dropped() {
    let mut scene = Scene::new();
    scene.send_spans(&[]);
    scene.send_spans(&[Span {
        addr: scene.page,
        len: 43,
    }]);
    scene.send_spans(&[Span {
        addr: RAM_SIZE - 43,
        len: 44,
    }]);
    scene.expect_nothing();
}

#[test]
fn a_flood_of_bad_packets_waits_until_the_guest_takes_the_answers() {
    let mut scene = Scene::new();
    let mut sent = 0;
    while scene.muxer.takes_packets() {
        scene.say(Op::Data, PORTS);
        sent += 1;
    }
    assert_eq!(sent, 256);
    let mut resets = 0;
    while scene.receive().is_some() {
        resets += 1;
    }
    assert_eq!(resets, sent);
    assert!(scene.muxer.takes_packets());
}

#[test]
fn buffers_that_cannot_hold_a_packet_are_given_back_and_nothing_is_lost() {
    let mut scene = Scene::new();
    let (mut client, _) = scene.opened_by_host(5);
    client.write_all(b"payload").unwrap();
    scene.pump();
    let page = scene.guest.allocate(4096);
    let bad = [
        Buffer::writable(page, 43),
        Buffer::writable(page, 44),
        Buffer::writable(page, 0),
        Buffer::readable(page, 4096),
        Buffer::writable(RAM_SIZE - 10, 4096),
        Buffer::writable(RAM_SIZE - 50, 4096),
        Buffer::writable(RAM_SIZE, 4096),
    ];
    for buffer in bad {
        let head = scene.driver.offer(&[buffer]);
        scene.muxer.fill(&mut scene.ring, 8).unwrap();
        assert_eq!(scene.driver.used(), Some((head, 0)), "{buffer:?}");
    }
    assert_eq!(scene.expect_data(), b"payload");
}

#[test]
fn a_request_flood_is_bounded_by_the_connections() {
    let mut scene = Scene::new();
    let _listener = scene.listener(PORTS.host);
    for guest in 0..10_000 {
        if !scene.muxer.takes_packets() {
            while scene.receive().is_some() {}
        }
        scene.say(Op::Request, Ports { guest, ..PORTS });
    }
    assert!(scene.muxer.connections.len() <= crate::vsock::MAX_CONNECTIONS);
    assert!(scene.muxer.by_ports.len() == scene.muxer.connections.len());
}

#[test]
fn an_abandoned_client_is_not_answered_by_the_guests_stale_response() {
    let mut scene = Scene::new();
    let (client, ports) = scene.opened_by_host(5);
    scene.say(Op::Response, ports);
    scene.expect(Op::Reset);
    assert_eq!(read_all(&client), b"");
}
