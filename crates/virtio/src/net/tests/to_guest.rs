//! Frames for the guest.

use super::super::fake_driver::{LONGEST, Wire, frame, interrupts, on_stream};
use crate::testing::Buffer;

#[test]
fn a_frame_comes_behind_a_header() {
    let mut wire = Wire::new();
    wire.offer_buffers(1, 2048);
    let frames = [frame(60, 1)];
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(wire.guest_frames(), frames);
}

#[test]
fn a_batch_is_one_interrupt() {
    let mut wire = Wire::new();
    wire.offer_buffers(64, 2048);
    let frames: Vec<_> = (0..60).map(|seed| frame(1514, seed)).collect();
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(interrupts(&wire.rx), 1);
    assert_eq!(wire.guest_frames(), frames);
}

#[test]
fn a_large_frame_lies_in_many_buffers() {
    let mut wire = Wire::new();
    wire.offer_buffers(80, 1536);
    let frames = [frame(1000, 1), frame(LONGEST, 2), frame(5000, 3)];
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(wire.guest_frames(), frames);
}

#[test]
fn without_merging_it_needs_a_chain_that_holds_it() {
    let mut wire = Wire::new();
    wire.card.receiver.merge(false);
    let addr = wire.guest.allocate(1 << 17);
    let frames = [frame(LONGEST, 1)];
    wire.peer_sends(&on_stream(&[frame(LONGEST, 0)]));
    let pieces: Vec<_> = (0..17)
        .map(|i| Buffer::writable(addr + 4096 * i, 4096))
        .collect();
    wire.rx.offer(&pieces[..1]);
    wire.receive();
    assert_eq!(wire.card.receiver.dropped(), 1);
    assert_eq!(
        wire.rx.used(),
        None,
        "the small buffer stays for small frames"
    );

    wire.peer_sends(&on_stream(&[frame(100, 2)]));
    wire.rx.offer(&pieces);
    wire.receive();
    assert_eq!(wire.rx.used(), Some((0, 112)));
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(wire.rx.used(), Some((1, 12 + LONGEST as u32)));
    assert_eq!(wire.guest.read(addr + 12, LONGEST), frames[0]);
    assert_eq!(wire.guest.read(addr + 10, 2), [1, 0]);
}

#[test]
fn a_stream_in_any_pieces_gives_the_same_frames() {
    for (large, piece) in [(400, 1), (4000, 3), (LONGEST, 999), (LONGEST, 50_000)] {
        let lengths = [20, 14, 70, large, 300, 33].into_iter();
        let frames: Vec<_> = lengths.map(|length| frame(length, length)).collect();
        let mut wire = Wire::new();
        wire.offer_buffers(120, 1536);
        let mut got = Vec::new();
        for part in on_stream(&frames).chunks(piece) {
            wire.peer_sends(part);
            wire.receive();
            got.extend(wire.guest_frames());
        }
        assert_eq!(got, frames, "in pieces of {piece}");
        assert_eq!(wire.card.receiver.dropped(), 0);
    }
}

#[test]
fn frames_wait_for_buffers_and_the_stream_with_them() {
    let mut wire = Wire::new();
    let frames: Vec<_> = (0..200).map(|seed| frame(9000, seed)).collect();
    let stream = on_stream(&frames);
    let mut sent = wire.peer_sends(&stream);
    assert!(sent < stream.len());
    wire.receive();
    assert_eq!(wire.peer_sends(&stream[sent..]), 0, "nothing was read");

    let mut got = Vec::new();
    while got.len() < frames.len() {
        wire.offer_buffers(2, 4096);
        wire.receive();
        got.extend(wire.guest_frames());
        sent += wire.peer_sends(&stream[sent..]);
    }
    assert_eq!(got, frames);
}

#[test]
fn a_wait_for_buffers_ends_with_the_next_one() {
    let mut wire = Wire::new();
    wire.offer_buffers(1, 1536);
    let frames = [frame(3000, 1)];
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(wire.guest_frames(), [[0; 0]; 0]);
    let position = wire.rx_ring.position();
    assert_eq!(position.next_avail, position.next_used);
    // The doorbell is asked for at the first buffer that is missing, not at the one that is there.
    let event = wire.rx.layout.used_ring + 4 + 8 * 256;
    assert_eq!(wire.guest.read(event, 2), 1u16.to_le_bytes());
    wire.offer_buffers(1, 1536);
    wire.receive();
    assert_eq!(wire.guest_frames(), frames);
}
