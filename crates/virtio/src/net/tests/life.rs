//! The device as a transport sees it, with its thread.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::{io, slice};

use super::super::fake_driver::{LONGEST, MTU, RING_SIZE, frame, on_stream};
use super::super::*;
use crate::device::{Device, DeviceState, Interrupt};
use crate::queue::RingPosition;
use crate::testing::{Buffer, Driver, FakeGuest};

const MAC: [u8; 6] = [2, 0, 10, 0, 2, 15];

fn card() -> (Net, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    let net = Net::new(NetSpec {
        stream: ours.into(),
        mac: MAC,
        mtu: MTU,
    });
    (net.unwrap(), peer)
}

/// Reports changes of the configuration space.
struct Changes(Sender<Vec<u8>>);

impl Interrupt for Changes {
    fn used_buffers(&self, _index: u16) -> io::Result<()> {
        Ok(())
    }

    fn config_changed(&self, config: &[u8]) -> io::Result<()> {
        self.0.send(config.to_vec()).map_err(io::Error::other)
    }
}

/// A card that runs, and its driver.
struct Running {
    net: Net,
    peer: UnixStream,
    guest: FakeGuest,
    rx: Driver,
    tx: Driver,
    page: u64,
    changes: Receiver<Vec<u8>>,
}

impl Running {
    fn new() -> Self {
        let (net, peer) = card();
        let mut guest = FakeGuest::new();
        let (rx, tx) = (guest.driver(0, RING_SIZE), guest.driver(1, RING_SIZE));
        let page = guest.allocate(1 << 18);
        let mut running = Self {
            net,
            peer,
            guest,
            rx,
            tx,
            page,
            changes: channel().1,
        };
        running.activate(
            [RingPosition {
                next_avail: 0,
                next_used: 0,
            }; 2],
        );
        running
    }

    fn activate(&mut self, [rx, tx]: [RingPosition; 2]) {
        let rings = [Some((&self.rx, rx)), Some((&self.tx, tx))];
        let mut activation = self.guest.activation_at(self.net.features(), &rings);
        let (sender, changes) = channel();
        activation.interrupt = Arc::new(Changes(sender));
        self.changes = changes;
        self.net.activate(activation).unwrap();
    }

    fn send(&mut self, frame: &[u8]) {
        self.guest.write(self.page + HEADER as u64, frame);
        let size = (HEADER + frame.len()) as u32;
        let head = self.tx.offer(&[Buffer::readable(self.page, size)]);
        self.tx.notify();
        assert_eq!(self.tx.wait_used(), (head, 0));
    }

    fn receive(&mut self) -> Vec<u8> {
        let addr = self.page + (1 << 17);
        let head = self.rx.offer(&[Buffer::writable(addr, 70_000)]);
        self.rx.notify();
        let (used, len) = self.rx.wait_used();
        assert_eq!(used, head);
        self.guest.read(addr + HEADER as u64, len as usize - HEADER)
    }

    fn peer_receives(&mut self, expected: &Vec<u8>) {
        let expected = on_stream(slice::from_ref(expected));
        let mut got = vec![0; expected.len()];
        self.peer.read_exact(&mut got).unwrap();
        assert_eq!(got, expected);
    }

    fn link_is_up(&self) -> bool {
        let mut status = [0; 2];
        self.net.read_config(6, &mut status);
        assert!(status[0] < 2 && status[1] == 0);
        status[0] == 1
    }
}

#[test]
fn the_configuration_space_tells_address_status_and_mtu() {
    let mut config = [0xff; 14];
    card().0.read_config(0, &mut config);
    let [mtu_low, mtu_high] = MTU.to_le_bytes();
    assert_eq!(
        config,
        [2, 0, 10, 0, 2, 15, 1, 0, 1, 0, mtu_low, mtu_high, 0, 0]
    );
}

#[test]
fn an_mtu_that_no_frame_has_is_refused() {
    for mtu in [0, 67, 65_522, u16::MAX] {
        let (ours, _peer) = UnixStream::pair().unwrap();
        let spec = NetSpec {
            stream: ours.into(),
            mac: MAC,
            mtu,
        };
        assert_eq!(Net::new(spec).err(), Some(NetError::Mtu { mtu }));
    }
}

#[test]
fn frames_pass_both_ways() {
    let mut running = Running::new();
    for length in [60, LONGEST, 1514] {
        let frame = frame(length, length);
        running.send(&frame);
        running.peer_receives(&frame);
        running
            .peer
            .write_all(&on_stream(slice::from_ref(&frame)))
            .unwrap();
        assert_eq!(running.receive(), frame);
    }
}

#[test]
fn a_peer_that_reads_late_gets_everything() {
    let mut running = Running::new();
    let frames: Vec<_> = (0..100).map(|seed| frame(60_000, seed)).collect();
    for frame in &frames {
        let addr = running.guest.allocate(HEADER as u64 + 60_000);
        running.guest.write(addr + HEADER as u64, frame);
        running
            .tx
            .offer(&[Buffer::readable(addr, HEADER as u32 + 60_000)]);
    }
    running.tx.notify();
    for frame in &frames {
        running.peer_receives(frame);
    }
    for _ in &frames {
        running.tx.wait_used();
    }
}

#[test]
fn a_pause_keeps_frames_that_are_on_their_way() {
    let mut running = Running::new();
    let frame = frame(LONGEST, 1);
    let stream = on_stream(slice::from_ref(&frame));
    let (begin, rest) = stream.split_at(30_000);
    running.peer.write_all(begin).unwrap();
    // The worker has certainly seen it when it has sent this.
    running.send(&frame);
    running.peer_receives(&frame);
    let positions = running.net.pause();
    let [Some(rx), Some(tx)] = positions[..] else {
        panic!("{positions:?}")
    };
    assert_eq!((rx.next_avail, rx.next_used), (0, 0));
    assert_eq!((tx.next_avail, tx.next_used), (1, 1));
    assert!(running.net.pause().is_empty());
    running.peer.write_all(rest).unwrap();
    running.activate([rx, tx]);
    assert_eq!(running.receive(), frame);
}

#[test]
fn a_new_driver_begins_with_a_whole_frame() {
    let mut running = Running::new();
    let addr = running.guest.allocate(1 << 17);
    let first = frame(LONGEST, 1);
    let stream = on_stream(slice::from_ref(&first));
    running.rx.offer(&[Buffer::writable(addr, 70_000)]);
    running.rx.notify();
    running.peer.write_all(&stream[..30_000]).unwrap();
    while running.guest.read(addr + 20_000, 1) == [0] {
        std::thread::yield_now();
    }
    running.net.pause();
    running.net.reset();
    running.rx = running.guest.driver(0, RING_SIZE);
    running.tx = running.guest.driver(1, RING_SIZE);
    let start = RingPosition {
        next_avail: 0,
        next_used: 0,
    };
    running.activate([start; 2]);
    running.peer.write_all(&stream[30_000..]).unwrap();
    let second = frame(500, 2);
    running
        .peer
        .write_all(&on_stream(slice::from_ref(&second)))
        .unwrap();
    assert_eq!(running.receive(), second);
}

#[test]
fn a_peer_that_goes_takes_the_link_down_and_the_guest_lives_on() {
    let mut running = Running::new();
    assert!(running.link_is_up());
    let frame = frame(100, 1);
    running
        .peer
        .write_all(&on_stream(slice::from_ref(&frame)))
        .unwrap();
    assert_eq!(running.receive(), frame);
    running.peer = UnixStream::pair().unwrap().0;
    let shown = running.changes.recv().unwrap();
    assert!(!running.link_is_up());
    let mut config = vec![0; shown.len()];
    running.net.read_config(0, &mut config);
    assert_eq!(shown, config);
    for _ in 0..3 {
        running.send(&frame);
    }
    let [Some(rx), Some(tx)] = running.net.pause()[..] else {
        panic!("a ring is gone")
    };
    running.activate([rx, tx]);
    running.send(&frame);
    assert!(running.changes.try_recv().is_err(), "once is enough");
}

#[test]
fn what_is_saved_makes_the_same_card() {
    let (net, _peer) = card();
    let saved = postcard::to_stdvec(&net.save()).unwrap();
    let DeviceState::Net(NetState { mac, mtu }) = postcard::from_bytes(&saved).unwrap() else {
        panic!("{saved:?}")
    };
    let (ours, _peer) = UnixStream::pair().unwrap();
    let again = Net::new(NetSpec {
        stream: ours.into(),
        mac,
        mtu,
    });
    assert_eq!(again.unwrap().save(), net.save());
}
