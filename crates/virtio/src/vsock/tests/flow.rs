//! Payload and credit in both directions.

use super::*;

/// Bytes that differ from their neighbours over a long distance.
fn pattern(len: usize) -> Vec<u8> {
    (0..len as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A little of what is in the socket.
fn read_some(mut stream: &UnixStream) -> Vec<u8> {
    let mut piece = vec![0; 10_000];
    let len = stream.read(&mut piece).unwrap();
    piece.truncate(len);
    piece
}

#[test]
fn buffers_are_filled_to_their_size() {
    let mut scene = Scene::new();
    let (mut client, _) = scene.opened_by_host(5);
    let sent = pattern(10_000);
    client.write_all(&sent).unwrap();
    let room = RX_BUFFER as usize - HEADER_LEN;
    let packets = [
        scene.expect_data(),
        scene.expect_data(),
        scene.expect_data(),
    ];
    assert_eq!(
        packets.iter().map(Vec::len).collect::<Vec<_>>(),
        [room, room, 10_000 - 2 * room]
    );
    assert_eq!(packets.concat(), sent);
    scene.expect_nothing();
}

#[test]
fn the_device_sends_no_more_than_the_guests_credit() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    let sent = pattern(GUEST_BUFFER as usize + 100);
    client.write_all(&sent).unwrap();
    let mut got = Vec::new();
    while got.len() < GUEST_BUFFER as usize {
        got.extend(scene.expect_data());
    }
    assert_eq!(got.len(), GUEST_BUFFER as usize);
    // It asks once, and then waits until there is credit.
    scene.expect(Op::CreditRequest);
    scene.expect_nothing();
    scene.say_forwarded(ports, 0);
    scene.expect_nothing();
    scene.say_forwarded(ports, 60);
    got.extend(scene.expect_data());
    assert_eq!(got.len(), GUEST_BUFFER as usize + 60);
    scene.expect(Op::CreditRequest);
    scene.say_forwarded(ports, GUEST_BUFFER);
    got.extend(scene.expect_data());
    assert_eq!(got, sent);
}

#[test]
fn without_buffers_nothing_is_lost() {
    let mut scene = Scene::new();
    let (mut client, ports) = scene.opened_by_host(5);
    client.write_all(b"payload").unwrap();
    scene.pump();
    scene.say(Op::CreditRequest, ports);
    // The guest has offered no buffer so far: fill finds none and leaves everything as it is.
    assert_eq!(
        scene.muxer.fill(&mut scene.ring, 8).unwrap(),
        crate::vsock::to_guest::Filled::Starved
    );
    assert_eq!(scene.expect_data(), b"payload");
    scene.expect(Op::CreditUpdate);
}

#[test]
fn connections_take_turns() {
    let mut scene = Scene::new();
    let (mut a, first) = scene.opened_by_host(5);
    let (mut b, second) = scene.opened_by_host(6);
    a.write_all(&[b'a'; 9000]).unwrap();
    b.write_all(&[b'b'; 9000]).unwrap();
    let mut order = Vec::new();
    while let Some((header, _)) = scene.receive() {
        order.push(header.dst_port.get());
    }
    let (a, b) = (first.guest, second.guest);
    assert!(
        order == [a, b, a, b, a, b] || order == [b, a, b, a, b, a],
        "{order:?}"
    );
}

#[test]
fn what_the_host_does_not_take_is_kept_and_the_guest_hears_when_there_is_room() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(5);
    let buffer = scene
        .muxer
        .connections
        .values()
        .next()
        .unwrap()
        .credit
        .buf_alloc() as usize;
    // Until the host's socket is full, packets pass; from then on they are kept, up to the buffer.
    let packet = pattern(64 * 1024);
    let mut sent = Vec::new();
    let mut told = 0;
    while sent.len() - told < buffer {
        let room = (buffer - (sent.len() - told)).min(packet.len());
        scene.say_data(ports, &packet[..room]);
        sent.extend(&packet[..room]);
        while let Some((header, _)) = scene.receive() {
            assert_eq!(Op::from_number(header.op.get()), Some(Op::CreditUpdate));
            told = header.fwd_cnt.get() as usize;
        }
    }
    // Now the guest has no credit. The host reads: an update comes, without a word of the guest's.
    let mut got = Vec::new();
    let update = loop {
        got.extend(read_some(&stream));
        if let Some((header, _)) = scene.receive() {
            break header;
        }
    };
    assert_eq!(Op::from_number(update.op.get()), Some(Op::CreditUpdate));
    assert!(update.fwd_cnt.get() as usize > told);
    assert_eq!(update.buf_alloc.get() as usize, buffer);
    scene.say_shutdown(ports, super::super::packet::SHUTDOWN_SEND);
    while got.len() < sent.len() {
        scene.pump();
        got.extend(read_some(&stream));
    }
    assert!(got == sent, "the bytes differ");
    assert_eq!(read_all(&stream), b"");
}

#[test]
fn many_connections_get_smaller_buffers() {
    let mut scene = Scene::new();
    let listener = scene.listener(5);
    let mut streams = Vec::new();
    let sizes: Vec<u32> = (0..300)
        .map(|guest| {
            scene.say(Op::Request, Ports { host: 5, guest });
            streams.push(listener.accept().unwrap());
            scene.expect(Op::Response).buf_alloc.get()
        })
        .collect();
    assert_eq!(sizes[0], 256 * 1024);
    assert_eq!(sizes[255], 256 * 1024);
    assert_eq!(sizes[256], 16 * 1024);
    // A connection that ends makes room for a large buffer again.
    scene.say(Op::Reset, Ports { host: 5, guest: 0 });
    scene.say(
        Op::Request,
        Ports {
            host: 5,
            guest: 1000,
        },
    );
    assert_eq!(scene.expect(Op::Response).buf_alloc.get(), 256 * 1024);
}

#[test]
fn a_packet_may_be_scattered_over_buffers() {
    let mut scene = Scene::new();
    let (stream, ports) = scene.opened_by_guest(5);
    let header = Header {
        len: 6.into(),
        ..scene.header(Op::Data, ports)
    };
    scene.guest.write(scene.page, header.as_bytes());
    scene.guest.write(scene.page + 44, b"abc");
    scene.guest.write(scene.page + 4096, b"def and no more");
    let page = scene.page;
    scene.send_spans(&[
        Span {
            addr: page,
            len: 13,
        },
        Span {
            addr: page + 13,
            len: 31,
        },
        Span {
            addr: page + 44,
            len: 3,
        },
        Span {
            addr: page + 4096,
            len: 15,
        },
    ]);
    scene.say_shutdown(ports, super::super::packet::SHUTDOWN_BOTH);
    assert_eq!(read_all(&stream), b"abcdef");
}
