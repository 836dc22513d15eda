use std::io::{PipeWriter, Read, Write, pipe};
use std::os::unix::net::UnixDatagram;

use super::*;
use crate::device::{Device, DeviceState, feature};
use crate::queue::RingPosition;
use crate::testing::{Buffer, Driver, FakeGuest, RAM_SIZE};

const RING_SIZE: u16 = 64;

/// A device that runs, and its driver.
struct Running {
    console: Console,
    guest: FakeGuest,
    rx: Driver,
    tx: Driver,
    page: u64,
}

impl Running {
    fn new(output: impl Into<OwnedFd>, input: Option<OwnedFd>) -> Self {
        let output = output.into();
        let console = Console::new(ConsoleSpec { output, input }).unwrap();
        let mut guest = FakeGuest::new();
        let (rx, tx) = (guest.driver(0, RING_SIZE), guest.driver(1, RING_SIZE));
        let page = guest.allocate(1 << 20);
        let mut running = Self {
            console,
            guest,
            rx,
            tx,
            page,
        };
        let start = RingPosition {
            next_avail: 0,
            next_used: 0,
        };
        running.activate([start, start]);
        running
    }

    /// One without a reader that matters, and the end of its input.
    fn with_input() -> (Self, PipeWriter) {
        let (reader, writer) = pipe().unwrap();
        let null = std::fs::File::create("/dev/null").unwrap();
        (Self::new(null, Some(reader.into())), writer)
    }

    fn activate(&mut self, [rx, tx]: [RingPosition; 2]) {
        let rings = [Some((&self.rx, rx)), Some((&self.tx, tx))];
        self.console
            .activate(self.guest.activation_at(feature::RING, &rings))
            .unwrap();
    }

    fn pause(&mut self) -> [RingPosition; 2] {
        let positions: Vec<_> = self.console.pause().into_iter().flatten().collect();
        positions.try_into().unwrap()
    }

    /// Prints `text` as Linux does: the device must have taken it before the guest goes on.
    fn print(&mut self, text: &[u8]) {
        self.guest.write(self.page, text);
        self.tx
            .offer(&[Buffer::readable(self.page, text.len() as u32)]);
        self.tx.notify();
        assert_eq!(self.tx.wait_used().1, 0);
    }

    /// Offers a buffer for input without a word.
    fn offer_room(&mut self, len: u32) {
        self.rx.offer(&[Buffer::writable(self.page, len)]);
    }

    /// What came into the buffer that was offered.
    fn typed(&mut self) -> String {
        let (_, written) = self.rx.wait_used();
        String::from_utf8(self.guest.read(self.page, written as usize)).unwrap()
    }
}

#[test]
fn what_the_guest_prints_comes_out() {
    let (mut reader, writer) = pipe().unwrap();
    let mut running = Running::new(writer, None);
    running.print(b"Linux version ");
    running.print(b"7.3\n");
    let mut got = [0; 18];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"Linux version 7.3\n");
}

#[test]
fn many_small_pieces_become_one_write() {
    // Every write to a datagram socket is a message of its own.
    let (ours, theirs) = UnixDatagram::pair().unwrap();
    let mut running = Running::new(theirs, None);
    let page = running.page;
    running.guest.write(page, &[b'x'; 16]);
    let positions = running.pause();
    for _ in 0..RING_SIZE {
        running.tx.offer(&[Buffer::readable(page, 16)]);
    }
    running.activate(positions);
    let mut message = [0; 4096];
    assert_eq!(
        ours.recv(&mut message).unwrap(),
        16 * usize::from(RING_SIZE)
    );
}

#[test]
fn nobody_reads_and_the_guest_goes_on() {
    let (mut reader, writer) = pipe().unwrap();
    let mut running = Running::new(writer, None);
    for _ in 0..100 {
        running.print(&[b'.'; 4096]);
    }
    drop(running);
    let mut got = Vec::new();
    reader.read_to_end(&mut got).unwrap();
    // What a pipe holds at least.
    assert!(got.len() >= 4096 && got.iter().all(|byte| *byte == b'.'));
}

#[test]
fn the_reader_may_go_and_the_guest_goes_on() {
    let (reader, writer) = pipe().unwrap();
    let mut running = Running::new(writer, None);
    running.print(b"heard");
    drop(reader);
    for _ in 0..10 {
        running.print(&[b'.'; 4096]);
    }
}

#[test]
fn a_pause_writes_what_was_printed() {
    let (mut reader, writer) = pipe().unwrap();
    let mut running = Running::new(writer, None);
    running.print(b"panic");
    let positions = running.pause();
    let mut got = [0; 5];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"panic");
    running.activate(positions);
    running.print(b"again");
    running.pause();
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"again");
}

#[test]
fn output_outside_of_ram_is_left_out_and_endless_output_is_cut() {
    let (mut reader, writer) = pipe().unwrap();
    let mut running = Running::new(writer, None);
    let page = running.page;
    running.tx.offer(&[Buffer::readable(RAM_SIZE, 16)]);
    // Four descriptors of 1 MiB each, of which the backlog is looked at.
    let long = [Buffer::readable(page, 1 << 20); 4];
    running.tx.offer(&long);
    running.tx.notify();
    assert_eq!(running.tx.wait_used(), (0, 0));
    assert_eq!(running.tx.wait_used(), (1, 0));
    let mut got = vec![0; BACKLOG];
    reader.read_exact(&mut got).unwrap();
    let told = format!("\n[cenote: {} bytes of", (4 << 20) - BACKLOG);
    let mut line = vec![0; told.len()];
    reader.read_exact(&mut line).unwrap();
    assert_eq!(String::from_utf8(line).unwrap(), told);
}

#[test]
fn input_reaches_the_guest_in_order_as_it_makes_room() {
    let (mut running, mut typist) = Running::with_input();
    running.offer_room(3);
    typist.write_all(b"reboot\n").unwrap();
    assert_eq!(running.typed(), "reb");
    running.offer_room(100);
    running.rx.notify();
    assert_eq!(running.typed(), "oot\n");
    drop(typist);
    running.print(b"and the end of input is no end of output");
}

#[test]
fn room_outside_of_ram_comes_back_empty_and_loses_nothing() {
    let (mut running, mut typist) = Running::with_input();
    running.rx.offer(&[Buffer::writable(RAM_SIZE - 2, 8)]);
    running.rx.offer(&[Buffer::readable(running.page, 8)]);
    running.offer_room(8);
    typist.write_all(b"input").unwrap();
    assert_eq!(running.rx.wait_used(), (0, 0));
    assert_eq!(running.rx.wait_used(), (1, 0));
    assert_eq!(running.typed(), "input");
}

#[test]
fn input_that_the_guest_had_no_room_for_is_saved() {
    let (mut running, mut typist) = Running::with_input();
    running.offer_room(1);
    typist.write_all(b"abc").unwrap();
    assert_eq!(running.typed(), "a");
    running.pause();
    let saved = postcard::to_stdvec(&running.console.save()).unwrap();
    let DeviceState::Console(state) = postcard::from_bytes(&saved).unwrap() else {
        panic!("{saved:?}")
    };
    assert_eq!(state.unread, b"bc");
    let (_reader, writer) = pipe().unwrap();
    let spec = ConsoleSpec {
        output: writer.into(),
        input: None,
    };
    let restored = Console::restore(state.clone(), spec).unwrap();
    assert_eq!(restored.save(), DeviceState::Console(state));
}

#[test]
fn the_configuration_space_is_empty() {
    let (running, _typist) = Running::with_input();
    let mut config = [0xff; 12];
    running.console.read_config(0, &mut config);
    assert_eq!(config, [0; 12]);
}
