//! A guest that lies, and a stream that does.

use std::fs::File;
use std::sync::Arc;

use vm_memory::{FileOffset, MmapRegion};

use super::super::fake_driver::{LONGEST, Wire, frame, on_stream};
use super::super::{HEADER, MAX_FRAME};
use crate::memory::Windows;
use crate::testing::{Buffer, NEXT, RAM_SIZE};

const PAGE: u64 = 4096;
/// A window onto two pages of a file, of which the second may be gone.
const WINDOW: u64 = 1 << 32;

fn with_window() -> (Wire, File) {
    let file = tempfile::tempfile().unwrap();
    file.set_len(2 * PAGE).unwrap();
    let from = FileOffset::new(file.try_clone().unwrap(), 0);
    let window = MmapRegion::from_file(from, 2 * PAGE as usize).unwrap();
    let windows = Arc::new(Windows::new());
    windows.add(WINDOW, Arc::new(window)).unwrap();
    (Wire::with_windows(windows), file)
}

/// Offers `buffers` as a frame: it comes back unsent, and the next one is sent.
fn assert_dropped(wire: &mut Wire, buffers: &[Buffer]) {
    let before = wire.card.transmitter.dropped();
    let head = wire.tx.offer(buffers);
    let good = frame(100, 7);
    let next = wire.offer_frame(&good, PAGE as usize);
    wire.transmit();
    let mut sent = wire.sent();
    sent.sort_unstable();
    assert_eq!(sent, [head, next], "{buffers:?}");
    assert_eq!(wire.peer_frames(), [good], "{buffers:?}");
    assert_eq!(wire.card.transmitter.dropped(), before + 1, "{buffers:?}");
}

#[test]
fn frames_that_are_none_are_not_sent() {
    let (mut wire, _file) = with_window();
    let page = wire.guest.allocate(2 << 16);
    let header = HEADER as u32;
    for buffers in [
        vec![Buffer::readable(page, header + 13)],
        vec![Buffer::readable(page, header - 1)],
        vec![Buffer::readable(page, 0)],
        vec![Buffer::readable(page, header + LONGEST as u32 + 1)],
        vec![Buffer::readable(page, u32::MAX)],
        vec![Buffer::writable(page, 100)],
        vec![Buffer::readable(page, 100), Buffer::writable(page, 100)],
        vec![Buffer::readable(RAM_SIZE - 50, 100)],
        vec![
            Buffer::readable(page, header),
            Buffer::readable(WINDOW - 50, 100),
        ],
        vec![Buffer::readable(u64::MAX - 50, 100)],
    ] {
        assert_dropped(&mut wire, &buffers);
    }
}

#[test]
fn a_chain_without_end_is_given_back() {
    let mut wire = Wire::new();
    wire.tx.describe(0, 0, 10, NEXT, 0);
    wire.tx.publish(0);
    wire.transmit();
    assert_eq!(wire.sent(), [0]);
    assert_eq!(wire.card.transmitter.dropped(), 1);
}

#[test]
fn a_frame_may_lie_in_a_window_and_is_dropped_when_its_page_is_gone() {
    let (mut wire, file) = with_window();
    let page = wire.guest.allocate(PAGE);
    let header = Buffer::readable(page, HEADER as u32);
    wire.tx
        .offer(&[header, Buffer::readable(WINDOW + PAGE - 20, 60)]);
    wire.transmit();
    assert_eq!(wire.peer_frames(), [[0; 60]]);
    wire.sent();
    file.set_len(PAGE).unwrap();
    assert_dropped(
        &mut wire,
        &[header, Buffer::readable(WINDOW + PAGE - 20, 60)],
    );
    let good = frame(50, 1);
    wire.offer_frame(&good, 4096);
    wire.transmit();
    assert_eq!(wire.peer_frames(), [good], "it is not for ever");
}

#[test]
fn a_frame_that_has_begun_is_ended_with_zeros_when_its_page_goes() {
    let (mut wire, file) = with_window();
    let page = wire.guest.allocate(LONGEST as u64);
    let filler = frame(LONGEST, 0);
    // Frames that end in the window, until one of them is on the stream in part.
    let tail = 2 * PAGE as u32;
    let pieces = [
        Buffer::readable(page, HEADER as u32 + LONGEST as u32 - tail),
        Buffer::readable(WINDOW, tail),
    ];
    wire.guest
        .write(page + HEADER as u64, &filler[..LONGEST - tail as usize]);
    let mut offered = 0;
    while !wire.card.transmitter.waits() {
        wire.tx.offer(&pieces);
        offered += 1;
        wire.transmit();
    }
    file.set_len(0).unwrap();
    let last = frame(100, 9);
    wire.offer_frame(&last, 4096);
    let mut got = Vec::new();
    while got.last() != Some(&last) {
        got.extend(wire.peer_frames());
        wire.transmit();
    }
    let expected = [&filler[..LONGEST - tail as usize], &[0; 2 * PAGE as usize]].concat();
    let (last, full) = got.split_last().unwrap();
    assert_eq!(last.len(), 100);
    assert!(full.len() == offered || full.len() == offered - 1);
    for (nth, frame) in full.iter().enumerate() {
        assert_eq!(frame.len(), LONGEST);
        // One that stopped before the window was reached is filled up from where it stopped.
        let whole = nth + 1 < full.len();
        assert!(*frame == expected || !whole, "frame {nth}");
    }
}

#[test]
fn a_frame_that_changed_after_it_had_begun_keeps_its_length_on_the_stream() {
    let mut wire = Wire::new();
    let filler = frame(LONGEST, 0);
    let mut offered = 0;
    while !wire.card.transmitter.waits() {
        wire.offer_frame(&filler, usize::MAX >> 1);
        offered += 1;
        wire.transmit();
    }
    let head = wire.tx_ring.position().next_avail % 256;
    let page = wire.guest.allocate(PAGE);
    wire.tx.describe(head, page, HEADER as u32 + 20, 0, 0);
    let mut got = Vec::new();
    for _ in 0..8 {
        got.extend(wire.peer_frames());
        wire.transmit();
    }
    let lengths: Vec<_> = got.iter().map(Vec::len).collect();
    assert_eq!(lengths[..offered - 1], vec![LONGEST; offered - 1]);
    // Either the frame had begun, then it is filled up and the new one follows; or the new one takes its place.
    assert!(matches!(lengths[offered - 1..], [LONGEST, 20] | [20]));
}

#[test]
fn a_driver_that_is_gone_leaves_whole_frames_on_the_stream() {
    let mut wire = Wire::new();
    let filler = frame(LONGEST, 0);
    while !wire.card.transmitter.waits() {
        wire.offer_frame(&filler, 4096);
        wire.transmit();
    }
    wire.card.transmitter.forget_driver();
    wire.tx = wire.guest.driver(1, 256);
    wire.tx_ring = wire.tx.ring();
    let next = frame(40, 5);
    wire.offer_frame(&next, 4096);
    let mut got = Vec::new();
    while got.last() != Some(&next) {
        got.extend(wire.peer_frames());
        wire.transmit();
    }
    assert!(got[..got.len() - 1].iter().all(|f| f.len() == LONGEST));
}

#[test]
fn buffers_that_cannot_hold_a_frame_are_given_back() {
    let mut wire = Wire::new();
    let page = wire.guest.allocate(PAGE);
    wire.rx.offer(&[Buffer::readable(page, 2000)]);
    wire.rx
        .offer(&[Buffer::readable(page, 20), Buffer::writable(page, 2000)]);
    wire.rx.offer(&[Buffer::writable(page, HEADER as u32 - 1)]);
    wire.offer_buffers(1, 2048);
    let frames = [frame(100, 1)];
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    for head in [0, 1, 3] {
        assert_eq!(wire.rx.used(), Some((head, 0)));
    }
    assert_eq!(wire.guest_frames(), frames);
}

#[test]
fn buffers_outside_of_memory_cost_the_frame_and_no_more() {
    let mut wire = Wire::new();
    for addr in [RAM_SIZE - 8, RAM_SIZE - 50, u64::MAX - 100, WINDOW] {
        for length in [60, 20_000, LONGEST] {
            wire.rx.offer(&[Buffer::writable(addr, 70_000)]);
            let before = wire.card.receiver.dropped();
            wire.peer_sends(&on_stream(&[frame(length, 1)]));
            wire.receive();
            assert!(matches!(wire.rx.used(), Some((_, 0))), "{addr:#x}");
            assert_eq!(wire.card.receiver.dropped(), before + 1);
        }
    }
    wire.offer_buffers(1, 2048);
    let frames = [frame(100, 1)];
    wire.peer_sends(&on_stream(&frames));
    wire.receive();
    assert_eq!(wire.guest_frames(), frames);
}

#[test]
fn a_buffer_whose_page_is_gone_costs_the_frame_and_no_more() {
    let (mut wire, file) = with_window();
    file.set_len(PAGE).unwrap();
    let page = wire.guest.allocate(1 << 16);
    // What is copied goes to RAM, and the rest of the frame into the window.
    let head = wire.rx.offer(&[
        Buffer::writable(page, HEADER as u32 + 40_000),
        Buffer::writable(WINDOW + PAGE, 2 * PAGE as u32),
    ]);
    wire.offer_buffers(2, 2048);
    let small = frame(100, 2);
    wire.peer_sends(&on_stream(&[frame(40_100, 1), small.clone()]));
    wire.receive();
    assert_eq!(wire.rx.used(), Some((head, 0)));
    assert_eq!(wire.guest_frames(), [small]);
}

#[test]
fn frames_for_nobody_are_dropped() {
    let mut wire = Wire::new();
    wire.offer_buffers(2, 2048);
    let good = frame(14, 3);
    let stream = on_stream(&[
        frame(1, 0),
        frame(13, 1),
        frame(LONGEST + 1, 2),
        frame(MAX_FRAME, 2),
        good.clone(),
    ]);
    let mut sent = 0;
    while sent < stream.len() {
        sent += wire.peer_sends(&stream[sent..]);
        wire.receive();
    }
    assert_eq!(wire.guest_frames(), [good]);
    assert_eq!(wire.card.receiver.dropped(), 4);
}

#[test]
fn a_length_that_is_none_ends_the_link() {
    for announced in [0, MAX_FRAME as u32 + 1, u32::MAX] {
        let mut wire = Wire::new();
        wire.offer_buffers(2, 2048);
        let good = frame(60, 1);
        let stream = [
            on_stream(std::slice::from_ref(&good)),
            announced.to_be_bytes().to_vec(),
        ]
        .concat();
        wire.peer_sends(&stream);
        wire.receive();
        assert!(!wire.card.link.is_up());
        assert_eq!(wire.guest_frames(), [good], "what came before is good");

        let head = wire.offer_frame(&frame(60, 2), 4096);
        wire.transmit();
        assert_eq!(wire.sent(), [head]);
        assert_eq!(wire.card.transmitter.dropped(), 1);
        assert_eq!(wire.peer_sends(b"more"), 0, "the socket is shut down");
    }
}

#[test]
fn a_link_that_ends_takes_a_frame_that_has_begun_with_it() {
    let mut wire = Wire::new();
    while !wire.card.transmitter.waits() {
        wire.offer_frame(&frame(LONGEST, 0), 4096);
        wire.transmit();
    }
    wire.peer_sends(&[0; 4]);
    wire.receive();
    wire.transmit();
    assert!(!wire.card.transmitter.waits());
    assert_eq!(wire.sent().len(), usize::from(wire.tx.offered()));
}
