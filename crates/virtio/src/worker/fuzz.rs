//! A driver whose every chain a fuzzer writes, for devices with simple requests. What it writes is letters, so that seeds
//! are text: a chain is the buffers up to a full stop, each a place and a length; a capital letter is a buffer for the
//! device to write. `d4D9.` offers 4 bytes to read and 9 to write. `=` and four bytes are what the next chain reads.

use super::Service;
use crate::queue::Ring;
use crate::testing::{Buffer, Choices, Driver, FakeGuest, RAM_SIZE};

/// Most chains of one play, and most buffers of a chain, so that the fake driver's descriptors suffice.
pub(crate) const MAX_CHAINS: usize = 64;
const MAX_BUFFERS: usize = 8;
const RING_SIZE: u16 = 16;

/// A guest with some rings.
pub(crate) struct Play {
    guest: FakeGuest,
    page: u64,
    rings: Vec<(Driver, Ring)>,
}

impl Play {
    /// One with `rings` rings.
    pub fn new(rings: u16) -> Self {
        let mut guest = FakeGuest::new();
        let page = guest.allocate(1 << 20);
        let rings = (0..rings)
            .map(|index| {
                let driver = guest.driver(index, RING_SIZE);
                let ring = driver.ring();
                (driver, ring)
            })
            .collect();
        Self { guest, page, rings }
    }

    /// Offers the next chain in ring `index`, and lets `service` serve it.
    ///
    /// # Panics
    ///
    /// If it does not come back, or with more written than there is room: that is a defect of the device.
    pub fn chain(&mut self, index: usize, service: &mut impl Service, bytes: &mut Choices<'_>) {
        let (buffers, room) = self.buffers(bytes);
        let (driver, ring) = &mut self.rings[index];
        let head = driver.offer(&buffers);
        while service.serve(ring).expect("a sound ring") {}
        service.wait_at_most();
        let (used, written) = driver.used().expect("the chain comes back");
        assert_eq!(used, head);
        assert!(u64::from(written) <= room, "{written} bytes of {room}");
        assert_eq!(driver.used(), None);
    }

    /// The buffers, those to read first, and the room in those to write.
    fn buffers(&self, bytes: &mut Choices<'_>) -> (Vec<Buffer>, u64) {
        let (mut readable, mut writable, mut room) = (Vec::new(), Vec::new(), 0);
        while let Some(place) = bytes.next().filter(|place| *place != b'.') {
            if place == b'=' {
                let word = bytes.u32();
                self.guest.write(self.page, &word.to_le_bytes());
                continue;
            }
            let addr = match place.to_ascii_lowercase() {
                b'd' => self.page,
                b'e' => RAM_SIZE - 8,
                b'o' => RAM_SIZE,
                b'z' => 0,
                other => self.page + u64::from(other),
            };
            let len = match bytes.u8() {
                digit @ b'0'..=b'9' => u32::from(digit - b'0'),
                b'p' => 4096,
                b'm' => 1 << 20,
                b'x' => u32::MAX / 16,
                other => other.into(),
            };
            if place.is_ascii_uppercase() {
                writable.push(Buffer::writable(addr, len));
                room += u64::from(len);
            } else {
                readable.push(Buffer::readable(addr, len));
            }
            if readable.len() + writable.len() == MAX_BUFFERS {
                break;
            }
        }
        if readable.is_empty() && writable.is_empty() {
            readable.push(Buffer::readable(self.page, 0));
        }
        readable.extend(writable);
        (readable, room)
    }
}
