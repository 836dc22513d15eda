//! A card, its guest's driver, and the other end of its stream, all in one thread: a test decides when the card works.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::device::Card;
use super::link::Link;
use super::receive::Receiver;
use super::transmit::Transmitter;
use super::{ETHERNET, HEADER, NetState, PREFIX};
use crate::memory::Windows;
use crate::queue::{Ring, RingError};
use crate::testing::{Buffer, Driver, FakeGuest};

/// The MTU of the link.
pub const MTU: u16 = 65_520;
/// The longest frame of the link.
pub const LONGEST: usize = MTU as usize + ETHERNET;
/// Entries of each ring.
pub const RING_SIZE: u16 = 256;

/// A frame of `length` bytes that differs from those with another `seed`.
pub fn frame(length: usize, seed: usize) -> Vec<u8> {
    (0..length).map(|i| ((i >> 8) + i + seed) as u8).collect()
}

/// `frames` as they stand on the stream.
pub fn on_stream(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        bytes.extend((frame.len() as u32).to_be_bytes());
        bytes.extend(frame);
    }
    bytes
}

/// See the [module](self).
pub struct Wire {
    pub card: Card,
    pub guest: FakeGuest,
    pub rx: Driver,
    pub rx_ring: Ring,
    pub tx: Driver,
    pub tx_ring: Ring,
    pub peer: UnixStream,
    /// Where the receive buffers are, by the heads of their chains.
    buffers: HashMap<u16, u64>,
    /// What the peer has read of a frame that is not there whole.
    unread: Vec<u8>,
}

impl Wire {
    /// With mergeable buffers.
    pub fn new() -> Self {
        Self::with_windows(Arc::default())
    }

    /// The same for a guest with windows.
    pub fn with_windows(windows: Arc<Windows>) -> Self {
        let mut guest = FakeGuest::with_windows(windows);
        let (rx, tx) = (guest.driver(0, RING_SIZE), guest.driver(1, RING_SIZE));
        let (ours, peer) = UnixStream::pair().expect("a socket pair");
        peer.set_nonblocking(true).expect("a socket");
        let card = NetState {
            mac: [2, 0, 0, 0, 0, 1],
            mtu: MTU,
        };
        let mut card = Card {
            link: Link::new(ours.into(), card),
            transmitter: Transmitter::new(LONGEST),
            receiver: Receiver::new(LONGEST),
        };
        card.receiver.merge(true);
        Self {
            card,
            rx_ring: rx.ring(),
            tx_ring: tx.ring(),
            guest,
            rx,
            tx,
            peer,
            buffers: HashMap::new(),
            unread: Vec::new(),
        }
    }

    /// The guest offers `frame` to send, in pieces of at most `piece` bytes. Returns the chain's head.
    pub fn offer_frame(&mut self, frame: &[u8], piece: usize) -> u16 {
        let bytes = [&[0; HEADER][..], frame].concat();
        let addr = self.guest.allocate(bytes.len() as u64);
        self.guest.write(addr, &bytes);
        let buffers: Vec<_> = (0..bytes.len())
            .step_by(piece)
            .map(|at| Buffer::readable(addr + at as u64, piece.min(bytes.len() - at) as u32))
            .collect();
        self.tx.offer(&buffers)
    }

    /// The guest offers `count` buffers of `size` bytes to receive into.
    pub fn offer_buffers(&mut self, count: usize, size: u32) {
        for _ in 0..count {
            let addr = self.guest.allocate(size.into());
            let head = self.rx.offer(&[Buffer::writable(addr, size)]);
            self.buffers.insert(head, addr);
        }
    }

    /// The card works on the queue of the guest's frames until it would wait.
    pub fn transmit(&mut self) {
        while serve(&mut self.card, &mut self.tx_ring).expect("a sound ring") {}
    }

    /// The card works on the queue of the guest's buffers until it would wait.
    pub fn receive(&mut self) {
        while serve(&mut self.card, &mut self.rx_ring).expect("a sound ring") {}
    }

    /// The peer sends `bytes`, as many as the socket takes. Returns how many.
    pub fn peer_sends(&mut self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while sent < bytes.len() {
            match self.peer.write(&bytes[sent..]) {
                Ok(count) => sent += count,
                Err(_) => break,
            }
        }
        sent
    }

    /// The whole frames that have come to the peer.
    pub fn peer_frames(&mut self) -> Vec<Vec<u8>> {
        let mut piece = vec![0; 1 << 16];
        while let Ok(count @ 1..) = self.peer.read(&mut piece) {
            self.unread.extend(&piece[..count]);
        }
        let mut frames = Vec::new();
        while let Some((prefix, rest)) = self.unread.split_first_chunk::<PREFIX>() {
            let length = u32::from_be_bytes(*prefix) as usize;
            let Some(frame) = rest.get(..length) else {
                break;
            };
            frames.push(frame.to_vec());
            self.unread.drain(..PREFIX + length);
        }
        frames
    }

    /// The frames that the guest finds in its buffers, as its driver puts them together.
    ///
    /// # Panics
    ///
    /// If a header is not as it must be, or a buffer of a frame is missing.
    pub fn guest_frames(&mut self) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(mut bytes) = self.next_buffer() {
            if bytes.is_empty() {
                continue;
            }
            let frame = bytes.split_off(HEADER);
            assert_eq!(bytes[..HEADER - 2], [0; HEADER - 2]);
            let count = u16::from_le_bytes([bytes[HEADER - 2], bytes[HEADER - 1]]);
            assert_ne!(count, 0);
            let rest = (1..count).map(|_| self.next_buffer().expect("all buffers of a frame"));
            let rest: Vec<_> = rest.collect();
            frames.push([vec![frame], rest].concat().concat());
        }
        frames
    }

    fn next_buffer(&mut self) -> Option<Vec<u8>> {
        let (head, len) = self.rx.used()?;
        let addr = self.buffers.get(&head).copied();
        Some(addr.map_or_else(Vec::new, |addr| self.guest.read(addr, len as usize)))
    }

    /// Heads of the chains of frames that came back.
    pub fn sent(&mut self) -> Vec<u16> {
        std::iter::from_fn(|| self.tx.used())
            .map(|(head, _)| head)
            .collect()
    }
}

/// One round of the card over `ring`.
pub fn serve(card: &mut Card, ring: &mut Ring) -> Result<bool, RingError> {
    crate::worker::Service::serve(card, ring)
}

/// How often `driver` was interrupted since the last look.
pub fn interrupts(driver: &Driver) -> u64 {
    let mut count = [0; 8];
    match rustix::io::read(driver.interrupt(), &mut count) {
        Ok(_) => u64::from_ne_bytes(count),
        Err(_) => 0,
    }
}
