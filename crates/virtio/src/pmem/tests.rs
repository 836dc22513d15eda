use std::os::fd::OwnedFd;

use super::*;
use crate::testing::{Buffer, Driver, FakeGuest, RAM_SIZE};

const START: u64 = 1 << 32;
const SIZE: u64 = 6 << 20;
const RING_SIZE: u16 = 64;

fn pmem(writable: Vec<File>) -> Pmem {
    Pmem::new(PmemSpec {
        start: START,
        size: SIZE,
        writable,
    })
    .unwrap()
}

/// A file that cannot be made durable, as `fsync` says of a pipe.
fn unreliable() -> File {
    let (_reader, writer) = std::io::pipe().unwrap();
    File::from(OwnedFd::from(writer))
}

/// A device that runs, and its driver.
struct Running {
    pmem: Pmem,
    guest: FakeGuest,
    driver: Driver,
    page: u64,
}

impl Running {
    fn new(writable: Vec<File>) -> Self {
        let mut guest = FakeGuest::new();
        let driver = guest.driver(0, RING_SIZE);
        let page = guest.allocate(4096);
        let mut pmem = pmem(writable);
        pmem.activate(guest.activation(feature::RING, &[Some(&driver)]))
            .unwrap();
        Self {
            pmem,
            guest,
            driver,
            page,
        }
    }

    /// Makes a request of `kind`; returns the answer.
    fn request(&mut self, kind: u32) -> i32 {
        self.guest.write(self.page, &kind.to_le_bytes());
        self.guest.write(self.page + 8, &[0x55; 4]);
        let written = self.chain(&[
            Buffer::readable(self.page, 4),
            Buffer::writable(self.page + 8, 4),
        ]);
        assert_eq!(written, 4);
        let answer = self.guest.read(self.page + 8, 4);
        i32::from_le_bytes(answer.try_into().unwrap())
    }

    /// Offers `buffers`; returns how many bytes came back.
    fn chain(&mut self, buffers: &[Buffer]) -> u32 {
        let head = self.driver.offer(buffers);
        self.driver.notify();
        let (used, written) = self.driver.wait_used();
        assert_eq!(used, head);
        written
    }
}

#[test]
fn the_configuration_space_is_the_range() {
    let mut config = [0xff; 20];
    pmem(Vec::new()).read_config(0, &mut config);
    assert_eq!(config[..8], START.to_le_bytes());
    assert_eq!(config[8..16], SIZE.to_le_bytes());
    assert_eq!(config[16..], [0; 4]);
}

#[test]
fn ranges_that_no_guest_can_use_are_refused() {
    let top = u64::MAX - ALIGNMENT + 1;
    for (start, size) in [
        (START + 4096, SIZE),
        (START, SIZE + 4096),
        (START, 0),
        (top, ALIGNMENT),
    ] {
        let spec = PmemSpec {
            start,
            size,
            writable: Vec::new(),
        };
        assert_eq!(
            Pmem::new(spec).err(),
            Some(PmemError::Range { start, size })
        );
    }
}

#[test]
fn a_flush_makes_the_files_durable() {
    let files = vec![tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap()];
    assert_eq!(Running::new(files).request(FLUSH), DONE);
}

#[test]
fn a_flush_that_fails_for_one_file_is_told_so() {
    let mut running = Running::new(vec![tempfile::tempfile().unwrap(), unreliable()]);
    assert_eq!(running.request(FLUSH), FAILED);
    assert_eq!(running.request(FLUSH), FAILED);
}

#[test]
fn a_flush_of_what_cannot_be_written_is_done() {
    assert_eq!(Running::new(Vec::new()).request(FLUSH), DONE);
}

#[test]
fn an_unknown_request_fails() {
    assert_eq!(Running::new(Vec::new()).request(FLUSH + 1), FAILED);
}

#[test]
fn many_requests_at_once_are_all_answered() {
    let mut running = Running::new(vec![unreliable()]);
    let page = running.page;
    running.guest.write(page, &FLUSH.to_le_bytes());
    for i in 0..u64::from(RING_SIZE) / 2 {
        running.driver.offer(&[
            Buffer::readable(page, 4),
            Buffer::writable(page + 8 + 4 * i, 4),
        ]);
    }
    running.driver.notify();
    for _ in 0..RING_SIZE / 2 {
        assert_eq!(running.driver.wait_used().1, 4);
    }
    let answers = running.guest.read(page + 8, 2 * usize::from(RING_SIZE));
    assert!(answers.iter().all(|byte| *byte == 0xff), "{answers:?}");
}

#[test]
fn a_request_without_room_or_outside_of_ram_comes_back_without_an_answer() {
    let mut running = Running::new(Vec::new());
    let page = running.page;
    let outside = START;
    for buffers in [
        vec![Buffer::readable(page, 3), Buffer::writable(page + 8, 4)],
        vec![Buffer::readable(page, 4), Buffer::writable(page + 8, 3)],
        vec![Buffer::readable(page, 4)],
        vec![Buffer::writable(page + 8, 4)],
        // The range itself is no RAM, and neither is what lies beyond RAM's end.
        vec![Buffer::readable(outside, 4), Buffer::writable(page + 8, 4)],
        vec![Buffer::readable(page, 4), Buffer::writable(outside, 4)],
        vec![Buffer::readable(page, 4), Buffer::writable(RAM_SIZE - 2, 4)],
    ] {
        running.guest.write(page, &[0; 16]);
        assert_eq!(running.chain(&buffers), 0, "{buffers:?}");
    }
    assert_eq!(running.request(FLUSH), DONE);
}

#[test]
fn header_and_answer_may_be_in_pieces() {
    let mut running = Running::new(Vec::new());
    let page = running.page;
    running.guest.write(page, &[0xff; 16]);
    running.guest.write(page, &[0, 0]);
    running.guest.write(page + 4, &[0, 0]);
    let written = running.chain(&[
        Buffer::readable(page, 2),
        Buffer::readable(page + 4, 2),
        Buffer::writable(page + 8, 1),
        Buffer::writable(page + 10, 5),
    ]);
    assert_eq!(written, 4);
    assert_eq!(
        running.guest.read(page + 8, 8),
        [0, 0xff, 0, 0, 0, 0xff, 0xff, 0xff]
    );
}

#[test]
fn a_pause_keeps_what_waits() {
    let mut running = Running::new(Vec::new());
    running.request(FLUSH);
    let positions = running.pmem.pause();
    let [Some(position)] = positions[..] else {
        panic!("{positions:?}")
    };
    assert_eq!((position.next_avail, position.next_used), (1, 1));
    assert!(running.pmem.pause().is_empty());

    let page = running.page;
    running
        .driver
        .offer(&[Buffer::readable(page, 4), Buffer::writable(page + 8, 4)]);
    let rings = [Some((&running.driver, position))];
    running
        .pmem
        .activate(running.guest.activation_at(feature::RING, &rings))
        .unwrap();
    assert_eq!(running.driver.wait_used().1, 4);
}

#[test]
fn what_is_saved_makes_the_same_device() {
    let saved = postcard::to_stdvec(&pmem(Vec::new()).save()).unwrap();
    let DeviceState::Pmem(PmemState { start, size }) = postcard::from_bytes(&saved).unwrap() else {
        panic!("{saved:?}")
    };
    let spec = PmemSpec {
        start,
        size,
        writable: Vec::new(),
    };
    let again = Pmem::new(spec).unwrap();
    assert_eq!((again.state.start, again.state.size), (START, SIZE));
}
