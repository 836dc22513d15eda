//! A guest and a stream whose every step a fuzzer chooses. Steps are letters, so that seeds are text: see [`Play::step`].
//! Buffers are written up to a full stop, each a place and a length; a capital letter is a buffer for the card to fill, and
//! a length is twenties of bytes, or `L` for the longest. `thd4.` sends a frame of 80 bytes.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use super::device::Card;
use super::link::Link;
use super::receive::Receiver;
use super::transmit::Transmitter;
use super::{ETHERNET, HEADER, NetState, PREFIX};
use crate::queue::Ring;
use crate::testing::{Buffer, Choices, CutWindow, Driver, FakeGuest, RAM_SIZE};
use crate::worker::Service;

/// The longest frame of the guest.
const LONGEST: usize = CARD.mtu as usize + ETHERNET;
const CARD: NetState = NetState {
    mac: [2, 0, 0, 0, 0, 1],
    mtu: 65_520,
};
/// Entries of each ring.
const RING_SIZE: u16 = 256;
/// Most steps of one play.
const MAX_STEPS: usize = 400;
/// Most buffers of a chain.
const MAX_BUFFERS: usize = 8;
/// Rounds in which a card must be done with what a ring holds and a socket's buffer brings, however small the pieces.
const MAX_ROUNDS: usize = 1 << 16;

/// Plays `data`, and checks after every step that what the card wrote to the stream are frames.
///
/// # Panics
///
/// If they are none, or the card does not come to an end: that is a defect of the device.
pub fn frames(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut play = Play::new();
    for _ in 0..MAX_STEPS {
        let Some(step) = bytes.next() else { break };
        play.step(step, &mut bytes);
        if !play.work() {
            break;
        }
    }
}

fn length(byte: u8) -> u32 {
    match byte {
        b'L' => LONGEST as u32,
        byte => u32::from(byte & 0xf) * 20,
    }
}

struct Play {
    card: Card,
    guest: FakeGuest,
    drivers: [Driver; 2],
    rings: [Ring; 2],
    peer: UnixStream,
    page: u64,
    /// Bytes of the stream to its next prefix, or those of the prefix that have come.
    rest: usize,
    prefix: Vec<u8>,
}

impl Play {
    fn new() -> Self {
        let (_, mut guest) = CutWindow::with_guest();
        let drivers = [0, 1].map(|index| guest.driver(index, RING_SIZE));
        let (ours, peer) = UnixStream::pair().expect("a socket pair");
        peer.set_nonblocking(true).expect("a socket");
        Self {
            card: Card {
                link: Link::new(ours.into(), CARD),
                transmitter: Transmitter::new(LONGEST),
                receiver: Receiver::new(LONGEST),
            },
            page: guest.allocate(1 << 17),
            guest,
            rings: drivers.each_ref().map(Driver::ring),
            drivers,
            peer,
            rest: 0,
            prefix: Vec::new(),
        }
    }

    fn step(&mut self, step: u8, bytes: &mut Choices<'_>) {
        match step {
            b'b' => self.offer(0, bytes),
            b't' => self.offer(1, bytes),
            b'm' => self.card.receiver.merge(bytes.u8() & 1 != 0),
            b'g' => self.new_driver(),
            b'r' => self.peer_reads(length(bytes.u8()) as usize),
            b's' => {
                let length = length(bytes.u8());
                let frame = [&length.to_be_bytes()[..], &vec![7; length as usize]].concat();
                self.peer_sends(&frame);
            }
            // Anything, with digits as small numbers.
            b'p' => {
                let piece: Vec<u8> = bytes.take(8).map(|byte| byte ^ b'0').collect();
                self.peer_sends(&piece);
            }
            // That the card has ended the stream already is part of the play.
            b'e' => drop(self.peer.shutdown(Shutdown::Write)),
            _ => {}
        }
    }

    fn offer(&mut self, index: usize, bytes: &mut Choices<'_>) {
        let buffers = self.buffers(bytes);
        self.drivers[index].offer(&buffers);
    }

    /// As much as the socket takes.
    fn peer_sends(&mut self, mut bytes: &[u8]) {
        while let Ok(count @ 1..) = self.peer.write(bytes) {
            bytes = &bytes[count..];
        }
    }

    fn buffers(&self, bytes: &mut Choices<'_>) -> Vec<Buffer> {
        let mut buffers = Vec::new();
        while buffers.len() < MAX_BUFFERS {
            let place = bytes.u8();
            let addr = match place.to_ascii_lowercase() {
                b'h' => {
                    buffers.push(Buffer::by_case(place, self.page, HEADER as u32));
                    continue;
                }
                b'd' => self.page + 64,
                b'w' => CutWindow::ADDR,
                b'x' => CutWindow::ADDR + CutWindow::PAGE - 30,
                b'o' => RAM_SIZE - 30,
                _ => break,
            };
            buffers.push(Buffer::by_case(place, addr, length(bytes.u8())));
        }
        if buffers.is_empty() {
            buffers.push(Buffer::writable(self.page, 1 << 17));
        }
        buffers
    }

    /// A driver with new rings where the old ones were.
    fn new_driver(&mut self) {
        self.card.transmitter.forget_driver();
        self.card.receiver.forget_driver();
        for driver in &mut self.drivers {
            let layout = driver.layout;
            self.guest.write(layout.avail_ring, &[0; 4]);
            self.guest.write(layout.used_ring, &[0; 4]);
            driver.start_anew();
        }
        self.rings = self.drivers.each_ref().map(Driver::ring);
    }

    /// Lets the card work until it would wait; `false` if the driver broke a ring.
    fn work(&mut self) -> bool {
        for ring in &mut self.rings {
            let mut rounds = 0;
            loop {
                match self.card.serve(ring) {
                    Ok(true) => rounds += 1,
                    Ok(false) => break,
                    Err(_) => return false,
                }
                assert!(rounds < MAX_ROUNDS, "the card does not come to an end");
            }
        }
        true
    }

    /// Reads the stream and follows its frames.
    fn peer_reads(&mut self, len: usize) {
        let mut piece = vec![0; len];
        let count = self.peer.read(&mut piece).unwrap_or(0);
        let mut piece = &piece[..count];
        while !piece.is_empty() {
            let skip = self.rest.min(piece.len());
            self.rest -= skip;
            piece = &piece[skip..];
            let missing = (PREFIX - self.prefix.len()).min(piece.len());
            self.prefix.extend(&piece[..missing]);
            piece = &piece[missing..];
            if let Ok(prefix) = self.prefix[..].try_into() {
                self.rest = u32::from_be_bytes(prefix) as usize;
                self.prefix.clear();
                assert!((ETHERNET..=LONGEST).contains(&self.rest), "{}", self.rest);
            }
        }
    }
}
