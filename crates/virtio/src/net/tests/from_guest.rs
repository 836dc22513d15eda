//! Frames of the guest.

use super::super::fake_driver::{LONGEST, Wire, frame, interrupts, serve};

#[test]
fn a_frame_goes_out_behind_its_length() {
    let mut wire = Wire::new();
    let sent = frame(60, 1);
    let head = wire.offer_frame(&sent, 4096);
    wire.transmit();
    assert_eq!(wire.peer_frames(), [sent]);
    assert_eq!(wire.sent(), [head]);
}

#[test]
fn frames_of_every_kind_keep_their_order() {
    let mut wire = Wire::new();
    let frames = [
        frame(14, 1),
        frame(LONGEST, 2),
        frame(1514, 3),
        frame(15, 4),
    ];
    for (frame, piece) in frames.iter().zip([4096, 4096, 100, 1]) {
        wire.offer_frame(frame, piece);
    }
    wire.transmit();
    assert_eq!(wire.peer_frames(), frames);
    assert_eq!(wire.sent().len(), 4);
}

#[test]
fn a_batch_is_one_call_and_one_interrupt() {
    let mut wire = Wire::new();
    let frames: Vec<_> = (0..60).map(|seed| frame(1514, seed)).collect();
    for frame in &frames {
        wire.offer_frame(frame, 4096);
    }
    assert!(!serve(&mut wire.card, &mut wire.tx_ring).unwrap());
    assert_eq!(wire.peer_frames(), frames);
    assert_eq!(interrupts(&wire.tx), 1);
    assert_eq!(wire.sent().len(), 60);
}

#[test]
fn what_the_socket_does_not_take_stays_in_the_queue() {
    let mut wire = Wire::new();
    let frames: Vec<_> = (0..14).map(|seed| frame(LONGEST, seed)).collect();
    for frame in &frames {
        wire.offer_frame(frame, 4096);
    }
    wire.transmit();
    assert!(wire.card.transmitter.waits());
    let taken = wire.sent().len();
    assert!(taken < frames.len());
    let position = wire.tx_ring.position();
    assert_eq!(position.next_avail, position.next_used);

    let mut got = wire.peer_frames();
    while got.len() < frames.len() {
        wire.transmit();
        let more = wire.peer_frames();
        assert!(!more.is_empty() || wire.card.transmitter.waits());
        got.extend(more);
    }
    assert_eq!(got, frames);
    assert!(!wire.card.transmitter.waits());
    assert_eq!(wire.sent().len(), frames.len() - taken);
}
