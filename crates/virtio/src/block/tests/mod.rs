//! The device, as a driver and a transport see it.

mod hostile;
mod life;
mod queues;
mod vhost_user;
mod windows;

use super::fake_driver::{
    DISCARD, FLUSH, FakeDriver, GET_ID, IN, IO_ERROR, OK, OUT, SECTOR, SECTORS, UNSUPPORTED,
    WRITE_ZEROES, pattern,
};
use super::{Block, BlockSpec};
use crate::device::{Device, feature};
use crate::testing::{Buffer, FakeGuest};

/// A device that serves the queues of its driver.
struct Running {
    device: Block,
    driver: FakeDriver,
}

impl Running {
    fn new() -> Self {
        Self::with(FakeDriver::new(1), |_| {})
    }

    fn with(driver: FakeDriver, change: impl FnOnce(&mut BlockSpec)) -> Self {
        let mut spec = driver.spec();
        change(&mut spec);
        let mut device = Block::new(&spec).unwrap();
        let rings: Vec<_> = driver.queues.iter().map(Some).collect();
        let features = device.features();
        device
            .activate(driver.guest.activation(features, &rings))
            .unwrap();
        Self { device, driver }
    }
}

fn sector_of(byte: u8) -> Vec<u8> {
    vec![byte; SECTOR as usize]
}

#[test]
fn sectors_are_read() {
    let mut running = Running::new();
    for sector in [0, 1, 77, SECTORS - 1] {
        let (status, bytes) = running.driver.read(sector, 512);
        assert_eq!(status, OK);
        assert_eq!(bytes, sector_of(pattern(sector)));
    }
    let (status, bytes) = running.driver.read(10, 5 * 512);
    assert_eq!(status, OK);
    let expected: Vec<u8> = (10..15)
        .flat_map(|sector| sector_of(pattern(sector)))
        .collect();
    assert_eq!(bytes, expected);
}

#[test]
fn what_is_not_in_the_page_cache_is_read_too() {
    let mut running = Running::new();
    let file = running.driver.file();
    file.sync_all().unwrap();
    // Only advice: on a file system in memory everything stays there, and the test is the one above.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let page = running.driver.page;
    let slots: Vec<_> = (0..32)
        .map(|i| {
            let to = Buffer::writable(page + i * 4096, 4096);
            running.driver.offer(IN, 8 * (31 - i), &[to])
        })
        .collect();
    running.driver.queues[0].notify();
    for _ in 0..32 {
        assert_eq!(running.driver.queues[0].wait_used().1, 4097);
    }
    for (i, slot) in (0..).zip(slots) {
        assert_eq!(running.driver.status(slot), OK);
        let bytes = running.driver.guest.read(page + i * 4096, 4096);
        assert_eq!(bytes, running.driver.on_disk(8 * (31 - i), 4096));
    }
}

#[test]
fn sectors_are_written_and_stay_where_they_are() {
    let mut running = Running::new();
    assert_eq!(running.driver.write(7, &[0xab; 1024]), OK);
    assert_eq!(running.driver.ask(FLUSH, 0, &[]), (OK, 1));
    assert_eq!(running.driver.on_disk(6, 512), sector_of(pattern(6)));
    assert_eq!(running.driver.on_disk(7, 1024), [0xab; 1024]);
    assert_eq!(running.driver.on_disk(9, 512), sector_of(pattern(9)));
    assert_eq!(running.driver.read(7, 1024), (OK, vec![0xab; 1024]));
}

#[test]
fn data_may_be_in_many_buffers_of_any_length() {
    let mut running = Running::new();
    let page = running.driver.page;
    let pieces: Vec<_> = [(0, 1), (10, 510), (1000, 600), (3000, 425)]
        .map(|(at, len)| Buffer::writable(page + at, len))
        .into();
    assert_eq!(running.driver.ask(IN, 3, &pieces), (OK, 3 * 512 + 1));
    let bytes = running.driver.guest.read(page + 3000, 425);
    assert_eq!(bytes, [pattern(5); 425]);
}

#[test]
fn header_data_and_status_may_share_buffers() {
    // Virtio 1.2 leaves the framing to the driver (section 2.7.4).
    let mut running = Running::new();
    let slot = running.driver.slot(OUT, 4);
    let page = running.driver.page;
    running
        .driver
        .guest
        .write(page, &running.driver.guest.read(slot.header, 16));
    running.driver.guest.write(page + 16, &[0x77; 512]);
    let queue = &mut running.driver.queues[0];
    queue.offer(&[
        Buffer::readable(page, 528),
        Buffer::writable(slot.status, 1),
    ]);
    queue.notify();
    queue.wait_used();
    assert_eq!(running.driver.status(slot), OK);
    assert_eq!(running.driver.on_disk(4, 512), [0x77; 512]);

    let slot = running.driver.slot(IN, 4);
    let queue = &mut running.driver.queues[0];
    queue.offer(&[
        Buffer::readable(slot.header, 16),
        Buffer::writable(page, 513),
    ]);
    queue.notify();
    assert_eq!(queue.wait_used().1, 513);
    let mut expected = vec![0x77; 512];
    expected.push(OK);
    assert_eq!(running.driver.guest.read(page, 513), expected);
}

#[test]
fn the_serial_number_is_told() {
    let mut running = Running::new();
    let page = running.driver.page;
    running.driver.guest.write(page, &[0xff; 21]);
    let answer = running.driver.ask(GET_ID, 0, &[Buffer::writable(page, 20)]);
    assert_eq!(answer, (OK, 21));
    assert_eq!(
        running.driver.guest.read(page, 21),
        b"a disk\0\0\0\0\0\0\0\0\0\0\0\0\0\0\xff"
    );
    // No more than there is room for.
    running.driver.guest.write(page, &[0xff; 3]);
    let answer = running.driver.ask(GET_ID, 0, &[Buffer::writable(page, 2)]);
    assert_eq!(answer, (OK, 3));
    assert_eq!(running.driver.guest.read(page, 3), b"a \xff");
}

#[test]
fn discarded_and_zeroed_sectors_read_as_zeroes() {
    use std::os::unix::fs::MetadataExt;
    let mut running = Running::new();
    let driver = &mut running.driver;
    driver.file().sync_all().unwrap();
    let blocks = driver.file().metadata().unwrap().blocks();
    assert_eq!(driver.ranges(DISCARD, &[(8, 16, 0), (32, 8, 0)]), OK);
    assert_eq!(driver.on_disk(8, 16 * 512), [0; 16 * 512]);
    assert_eq!(driver.on_disk(32, 8 * 512), [0; 8 * 512]);
    assert_eq!(driver.on_disk(24, 512), sector_of(pattern(24)));
    assert_eq!(driver.file().metadata().unwrap().blocks(), blocks - 24);

    assert_eq!(driver.ranges(WRITE_ZEROES, &[(50, 3, 0), (64, 8, 1)]), OK);
    assert_eq!(driver.on_disk(50, 3 * 512), [0; 3 * 512]);
    assert_eq!(driver.on_disk(53, 512), sector_of(pattern(53)));
    assert_eq!(driver.on_disk(64, 8 * 512), [0; 8 * 512]);
    assert_eq!(driver.file().metadata().unwrap().len(), SECTORS * SECTOR);
}

#[test]
fn the_configuration_space_describes_the_disk() {
    let driver = FakeDriver::new(3);
    let device = Block::new(&driver.spec()).unwrap();
    let field = |offset, len: usize| {
        let mut bytes = [0; 8];
        device.read_config(offset, &mut bytes[..len]);
        u64::from_le_bytes(bytes)
    };
    assert_eq!(field(0, 8), SECTORS);
    assert_eq!(field(12, 4), 254);
    assert_eq!(field(20, 4), 512);
    // The host's file system works in pages.
    assert_eq!(field(24, 1), 3);
    assert_eq!(field(26, 2), 8);
    assert_eq!(field(34, 2), 3);
    assert_eq!(field(36, 4), 1 << 21);
    assert_eq!(field(40, 4), 16);
    assert_eq!(field(44, 4), 8);
    assert_eq!((field(48, 4), field(52, 4), field(56, 1)), (1 << 21, 16, 1));
    assert_eq!((field(60, 8), field(1 << 40, 8)), (0, 0));
    assert_eq!(device.queue_sizes(), [256, 256, 256]);
    assert_eq!(device.device_type(), 2);
}

#[test]
fn a_read_only_disk_says_so_and_refuses_writes() {
    let mut running = Running::with(FakeDriver::new(1), |spec| spec.read_only = true);
    let features = running.device.features() & !feature::RING;
    // RO, SEG_MAX, BLK_SIZE, TOPOLOGY, MQ; neither FLUSH, DISCARD nor WRITE_ZEROES.
    assert_eq!(features, 1 << 5 | 1 << 2 | 1 << 6 | 1 << 10 | 1 << 12);
    let driver = &mut running.driver;
    assert_eq!(driver.write(0, &[1; 512]), IO_ERROR);
    assert_eq!(driver.ranges(DISCARD, &[(0, 8, 0)]), IO_ERROR);
    assert_eq!(driver.ranges(WRITE_ZEROES, &[(0, 8, 1)]), IO_ERROR);
    assert_eq!(driver.on_disk(0, 512), sector_of(pattern(0)));
    assert_eq!(driver.read(0, 512), (OK, sector_of(pattern(0))));
}
