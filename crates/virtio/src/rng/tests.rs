use super::*;
use crate::testing::{Buffer, Driver, FakeGuest, RAM_SIZE};

/// A device that runs, and its driver.
struct Running {
    rng: Rng,
    guest: FakeGuest,
    driver: Driver,
    page: u64,
}

impl Running {
    fn new() -> Self {
        let mut guest = FakeGuest::new();
        let driver = guest.driver(0, 8);
        let page = guest.allocate(1 << 20);
        let mut rng = Rng::new();
        rng.activate(guest.activation(feature::RING, &[Some(&driver)]))
            .unwrap();
        Self {
            rng,
            guest,
            driver,
            page,
        }
    }

    /// Offers `buffers`; returns how many bytes came back.
    fn chain(&mut self, buffers: &[Buffer]) -> u32 {
        let head = self.driver.offer(buffers);
        self.driver.notify();
        let (used, written) = self.driver.wait_used();
        assert_eq!(used, head);
        written
    }

    /// Asks for 64 bytes, as Linux does.
    fn random(&mut self) -> Vec<u8> {
        assert_eq!(self.chain(&[Buffer::writable(self.page, 64)]), 64);
        self.guest.read(self.page, 64)
    }
}

#[test]
fn every_request_gets_other_bytes() {
    let mut running = Running::new();
    let (first, second) = (running.random(), running.random());
    assert_ne!(first, [0; 64]);
    assert_ne!(first, second);
}

#[test]
fn a_long_request_gets_a_part_and_nothing_beyond_it_is_touched() {
    let mut running = Running::new();
    let page = running.page;
    let long = [
        Buffer::writable(page, 100),
        Buffer::writable(page + 4096, 1 << 19),
    ];
    assert_eq!(running.chain(&long), MAX_BYTES as u32);
    let second = running.guest.read(page + 4096, MAX_BYTES);
    assert_ne!(second[..MAX_BYTES - 100], [0; MAX_BYTES - 100]);
    assert_eq!(second[MAX_BYTES - 100..], [0; 100]);
}

#[test]
fn a_request_without_room_or_outside_of_ram_comes_back_empty() {
    let mut running = Running::new();
    let page = running.page;
    for buffers in [
        vec![Buffer::readable(page, 64)],
        vec![Buffer::writable(page, 0)],
        vec![Buffer::writable(RAM_SIZE, 64)],
        vec![Buffer::writable(RAM_SIZE - 63, 64)],
    ] {
        assert_eq!(running.chain(&buffers), 0, "{buffers:?}");
    }
    running.random();
}

#[test]
fn a_pause_keeps_what_waits() {
    let mut running = Running::new();
    running.random();
    let positions = running.rng.pause();
    running.driver.offer(&[Buffer::writable(running.page, 64)]);
    let rings = [Some((&running.driver, positions[0].unwrap()))];
    running
        .rng
        .activate(running.guest.activation_at(feature::RING, &rings))
        .unwrap();
    assert_eq!(running.driver.wait_used().1, 64);
}

#[test]
fn nothing_is_saved() {
    let state = Rng::new().save();
    let saved = postcard::to_stdvec(&state).unwrap();
    assert_eq!(postcard::from_bytes::<DeviceState>(&saved).unwrap(), state);
}
