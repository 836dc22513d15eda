//! The device, as a driver and a transport see it.

mod hostile;
mod life;
mod locks;
mod vhost_user;
mod windows;

use std::fs;

use cenote_fuse::wire::{ForgetIn, Opcode, ROOT};
use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::fake_driver::FakeDriver;
use super::{Fs, FsError, FsSpec, MAX_QUEUES};
use crate::device::Device;
use crate::testing::Buffer;

/// A device that serves the queues of its driver.
struct Running {
    device: Fs,
    driver: FakeDriver,
}

impl Running {
    fn new() -> Self {
        Self::with(FakeDriver::new(1))
    }

    fn with(driver: FakeDriver) -> Self {
        let mut device = Fs::new(driver.spec()).unwrap();
        let rings: Vec<_> = driver.queues.iter().map(Some).collect();
        let features = device.features();
        device
            .activate(driver.guest.activation(features, &rings))
            .unwrap();
        let mut running = Self { device, driver };
        running.driver.init();
        running
    }
}

#[test]
fn a_file_is_made_written_and_read() {
    let mut running = Running::new();
    let driver = &mut running.driver;
    assert_eq!(driver.lookup("f").unwrap_err(), Errno::NOENT);
    let fh = driver.create("f");
    driver.guest.write(driver.data, b"some data");
    let data = driver.data;
    let from = [Buffer::readable(data, 4), Buffer::readable(data + 4, 5)];
    assert_eq!(driver.write(fh, 3, 9, &from), Ok(9));
    let path = driver.share.inside.join("f");
    assert_eq!(fs::read(path).unwrap(), b"\0\0\0some data");

    let to = [
        Buffer::writable(data + 4096, 7),
        Buffer::writable(data + 8192, 93),
    ];
    assert_eq!(driver.read(fh, 1, 100, &to), Ok(11));
    assert_eq!(driver.guest.read(data + 4096, 7), b"\0\0some ");
    assert_eq!(driver.guest.read(data + 8192, 5), b"data\0");
    assert_eq!(driver.lookup("f").unwrap().attr.size, 12);
}

#[test]
fn what_has_no_reply_gets_none() {
    let mut running = Running::new();
    fs::write(running.driver.share.inside.join("f"), "").unwrap();
    let driver = &mut running.driver;
    let node = driver.lookup("f").unwrap().node;
    assert_eq!(driver.server.directory().known().0, 2);
    let forget = ForgetIn { nlookup: 1 };
    let message = driver.message(Opcode::Forget, node, &[forget.as_bytes()], 0);
    let head = driver.offer(0, &message, &[]);
    assert_eq!(driver.queues[0].wait_used(), (head, 0));
    assert_eq!(driver.server.directory().known().0, 1);
}

#[test]
fn a_whole_mebibyte_goes_through_one_request() {
    let mut running = Running::new();
    let driver = &mut running.driver;
    let bytes: Vec<u8> = (0..1 << 20).map(|i: u32| (i / 4096 + i) as u8).collect();
    driver.guest.write(driver.data, &bytes);
    let fh = driver.create("f");
    // As a kernel has it: in pages that are anywhere.
    let page = |i: u64| driver.data + (i * 7 % 256) * 4096;
    let pages: Vec<_> = (0..256).map(|i| Buffer::readable(page(i), 4096)).collect();
    let into: Vec<_> = (0..256)
        .map(|i| Buffer::writable(page(i) + (1 << 20), 4096))
        .collect();
    assert_eq!(driver.write(fh, 0, 1 << 20, &pages), Ok(1 << 20));
    assert_eq!(driver.read(fh, 0, 1 << 20, &into), Ok(1 << 20));
    assert_eq!(driver.guest.read(driver.data + (1 << 20), 1 << 20), bytes);
}

#[test]
fn the_configuration_tells_tag_and_queues() {
    let driver = FakeDriver::new(3);
    let device = Fs::new(driver.spec()).unwrap();
    let mut config = [0xff; 48];
    device.read_config(0, &mut config);
    assert_eq!(&config[..6], b"share\0");
    assert_eq!(config[6..36], [0; 30]);
    assert_eq!(config[36..], [3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(device.queue_sizes(), [512; 4]);
}

#[test]
fn the_number_of_queues_is_bounded() {
    let driver = FakeDriver::new(1);
    for (asked, given) in [(0, 1), (1, 1), (MAX_QUEUES, MAX_QUEUES), (999, MAX_QUEUES)] {
        let device = Fs::new(FsSpec {
            queues: asked,
            ..driver.spec()
        });
        let sizes = device.unwrap().queue_sizes().len();
        assert_eq!(sizes, usize::from(given) + 1);
    }
}

#[test]
fn a_tag_that_no_driver_could_name_is_refused() {
    let driver = FakeDriver::new(1);
    let with = |tag: &str| {
        Fs::new(FsSpec {
            tag: tag.into(),
            ..driver.spec()
        })
    };
    assert!(with(&"t".repeat(36)).is_ok());
    for tag in ["", "a\0b", &"t".repeat(37)] {
        let error = with(tag).err().unwrap();
        assert_eq!(error, FsError::Tag { tag: tag.into() });
    }
}

#[test]
fn queues_are_served_side_by_side() {
    let mut running = Running::with(FakeDriver::new(4));
    let driver = &mut running.driver;
    for queue in [4, 2, 3, 1] {
        let message = driver.message(Opcode::Statfs, ROOT, &[], 0);
        let room = [Buffer::writable(driver.reply, 256)];
        let head = driver.offer(queue, &message, &room);
        let (used, written) = driver.queues[queue].wait_used();
        assert_eq!(used, head);
        assert_eq!(driver.reply(written).0.error, 0);
    }
}
