//! A driver that lies. Each test breaks one thing, expects the error, and sees that the next request is served.

use super::*;
use crate::block::fake_driver::NO_ANSWER;
use crate::testing::{NEXT, RAM_SIZE, WRITE};

impl Running {
    /// The request ends with `status` and the disk still works.
    #[track_caller]
    fn assert_ends(&mut self, status: u8, kind: u32, sector: u64, data: &[Buffer]) {
        assert_eq!(self.driver.ask(kind, sector, data), (status, 1));
        self.assert_works();
    }

    #[track_caller]
    fn assert_works(&mut self) {
        assert_eq!(self.driver.read(3, 512), (OK, sector_of(pattern(3))));
    }
}

#[test]
fn sectors_beyond_the_disk() {
    let mut running = Running::new();
    let page = running.driver.page;
    let (to, from) = (Buffer::writable(page, 1024), Buffer::readable(page, 1024));
    for sector in [
        SECTORS - 1,
        SECTORS,
        1 << 55,
        (1 << 55) - 1,
        u64::MAX,
        u64::MAX - 1,
    ] {
        running.assert_ends(IO_ERROR, IN, sector, &[to]);
        running.assert_ends(IO_ERROR, OUT, sector, &[from]);
    }
    assert_eq!(
        running.driver.on_disk(SECTORS - 1, 512),
        sector_of(pattern(SECTORS - 1))
    );
}

#[test]
fn data_that_is_no_whole_number_of_sectors() {
    let mut running = Running::new();
    let page = running.driver.page;
    for len in [1, 511, 513] {
        running.assert_ends(IO_ERROR, IN, 0, &[Buffer::writable(page, len)]);
        running.assert_ends(IO_ERROR, OUT, 0, &[Buffer::readable(page, len)]);
    }
}

#[test]
fn no_data_at_all() {
    let mut running = Running::new();
    running.assert_ends(OK, IN, 0, &[]);
    running.assert_ends(OK, OUT, 0, &[]);
    running.assert_ends(OK, IN, SECTORS, &[]);
    running.assert_ends(IO_ERROR, IN, SECTORS + 1, &[]);
    running.assert_ends(OK, GET_ID, 0, &[]);
    running.assert_ends(IO_ERROR, DISCARD, 0, &[]);
    running.assert_ends(IO_ERROR, WRITE_ZEROES, 0, &[]);
}

#[test]
fn data_where_no_memory_is() {
    let mut running = Running::new();
    for addr in [RAM_SIZE, RAM_SIZE - 8, u64::MAX - 511] {
        running.assert_ends(IO_ERROR, IN, 0, &[Buffer::writable(addr, 512)]);
        running.assert_ends(IO_ERROR, OUT, 0, &[Buffer::readable(addr, 512)]);
        running.assert_ends(IO_ERROR, GET_ID, 0, &[Buffer::writable(addr, 512)]);
        running.assert_ends(IO_ERROR, DISCARD, 0, &[Buffer::readable(addr, 16)]);
    }
    assert_eq!(running.driver.on_disk(0, 512), sector_of(pattern(0)));
}

#[test]
fn a_request_that_nobody_knows() {
    let mut running = Running::new();
    for kind in [2, 3, 7, 9, 14, 15, 0x8000_0000, u32::MAX] {
        running.assert_ends(UNSUPPORTED, kind, 0, &[]);
    }
}

#[test]
fn ranges_that_are_wrong() {
    let mut running = Running::new();
    let half = running.driver.page;
    let driver = &mut running.driver;
    for kind in [DISCARD, WRITE_ZEROES] {
        for range in [
            (SECTORS, 1, 0),
            (SECTORS - 1, 2, 0),
            (u64::MAX, 1, 0),
            (u64::MAX, u32::MAX, 0),
            (0, (1 << 21) + 1, 0),
            (0, u32::MAX, 0),
        ] {
            // A good range before it is not touched either.
            assert_eq!(
                driver.ranges(kind, &[(0, 8, 0), range]),
                IO_ERROR,
                "{range:?}"
            );
        }
        assert_eq!(driver.ranges(kind, &[(0, 8, 2)]), UNSUPPORTED);
        assert_eq!(driver.ranges(kind, &[(0, 8, u32::MAX)]), UNSUPPORTED);
        assert_eq!(driver.ranges(kind, &[(0, 1, 0); 17]), IO_ERROR);
        assert_eq!(
            driver.ask(kind, 0, &[Buffer::readable(half, 24)]).0,
            IO_ERROR
        );
        assert_eq!(driver.ranges(kind, &[(0, 0, 0), (SECTORS, 0, 0)]), OK);
    }
    assert_eq!(driver.ranges(DISCARD, &[(0, 8, 1)]), UNSUPPORTED);
    assert_eq!(driver.on_disk(0, 512), sector_of(pattern(0)));
    running.assert_works();
}

#[test]
fn a_header_that_is_short_or_nowhere() {
    let mut running = Running::new();
    let slot = running.driver.slot(OUT, 0);
    for (addr, len) in [(slot.header, 15), (slot.header, 0), (RAM_SIZE - 8, 16)] {
        running.driver.guest.write(slot.status, &[NO_ANSWER]);
        let queue = &mut running.driver.queues[0];
        queue.offer(&[
            Buffer::readable(addr, len),
            Buffer::writable(slot.status, 1),
        ]);
        queue.notify();
        assert_eq!(queue.wait_used().1, 1);
        assert_eq!(running.driver.status(slot), IO_ERROR);
    }
    running.assert_works();
}

#[test]
fn a_status_that_is_missing_or_nowhere() {
    let mut running = Running::new();
    let slot = running.driver.slot(IN, 0);
    let page = running.driver.page;
    let header = Buffer::readable(slot.header, 16);
    for rest in [
        vec![],
        vec![Buffer::writable(page, 0)],
        vec![Buffer::writable(page, 512), Buffer::writable(RAM_SIZE, 1)],
        vec![Buffer::writable(RAM_SIZE - 512, 513)],
    ] {
        let mut buffers = vec![header];
        buffers.extend(rest);
        let queue = &mut running.driver.queues[0];
        queue.offer(&buffers);
        queue.notify();
        assert_eq!(queue.wait_used().1, 0);
    }
    running.assert_works();
}

#[test]
fn more_buffers_than_allowed() {
    let mut running = Running::new();
    // A ring that is larger than ours, as another VMM may set it up.
    let mut guest = FakeGuest::new();
    let mut queue = guest.driver(0, 1024);
    let rings = [Some(&queue)];
    running.device.pause();
    running
        .device
        .activate(guest.activation(running.device.features(), &rings))
        .unwrap();
    let page = guest.allocate(1 << 20);
    guest.write(page, &[0; 16]);
    let mut ask = |pieces: u64| {
        let mut buffers = vec![Buffer::readable(page, 16)];
        buffers.extend((0..pieces).map(|i| Buffer::writable(page + 4096 + i * 512, 512)));
        buffers.push(Buffer::writable(page + 100, 1));
        queue.offer(&buffers);
        queue.notify();
        queue.wait_used();
        guest.read(page + 100, 1)[0]
    };
    assert_eq!(ask(254), OK);
    assert_eq!(ask(255), IO_ERROR);
}

#[test]
fn a_broken_chain_is_given_back_and_a_broken_ring_goes_out_of_service_alone() {
    let mut running = Running::with(FakeDriver::new(2), |_| {});
    let queue = &mut running.driver.queues[0];
    queue.describe(200, 0x1000, 16, NEXT, 200);
    queue.publish(200);
    queue.notify();
    assert_eq!(queue.wait_used(), (200, 0));
    running.assert_works();

    // Taken in one round with a good one, whose answer shows that it was taken.
    running.driver.offer(FLUSH, 0, &[]);
    let queue = &mut running.driver.queues[0];
    queue.publish(256);
    queue.notify();
    queue.wait_used();
    let page = running.driver.page;
    let slot = running
        .driver
        .offer_on(1, IN, 5, &[Buffer::writable(page, 512)]);
    running.driver.queues[1].notify();
    running.driver.queues[1].wait_used();
    assert_eq!(running.driver.status(slot), OK);
    let positions = running.device.pause();
    assert!(positions[0].is_none() && positions[1].is_some());
}

#[test]
fn the_same_buffers_again_and_again() {
    // A driver may offer a chain that the device still has: then both are answered, and nothing else happens.
    let mut running = Running::new();
    let slot = running.driver.slot(FLUSH, 0);
    let queue = &mut running.driver.queues[0];
    queue.describe(0, slot.header, 16, NEXT, 1);
    queue.describe(1, slot.status, 1, WRITE, 0);
    for _ in 0..10 {
        for _ in 0..200 {
            queue.publish(0);
        }
        queue.notify();
        for _ in 0..200 {
            assert_eq!(queue.wait_used(), (0, 1));
        }
    }
    // The fake driver's next descriptor is 0 again.
    running.assert_works();
}
