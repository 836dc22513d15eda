//! Requests whose parts are in a window onto a file: data may be there, nothing else may.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::*;
use crate::block::fake_driver::NO_ANSWER;
use crate::testing::ImageWindow;

const WINDOW: u64 = ImageWindow::ADDR;
const PAGE: u64 = ImageWindow::PAGE;

/// A device, and the image that its guest sees in a window.
fn with_window(prot: i32) -> (Running, File) {
    let (image, guest) = ImageWindow::with_guest(prot);
    let running = Running::with(FakeDriver::in_guest(guest, 1), |_| {});
    (running, image)
}

const READ: i32 = libc::PROT_READ;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

fn byte_of(image: &File, offset: u64) -> u8 {
    let mut byte = [0];
    image.read_exact_at(&mut byte, offset).unwrap();
    byte[0]
}

#[test]
fn a_pmem_page_is_written_to_the_disk() {
    let (mut running, image) = with_window(READ);
    let driver = &mut running.driver;
    let from = Buffer::readable(WINDOW + PAGE, 512);
    assert_eq!(driver.ask(OUT, 9, &[from]), (OK, 1));
    assert_eq!(driver.on_disk(9, 512), [0x5a; 512]);
    // But nothing is read into one that may only be read.
    let to = Buffer::writable(WINDOW, 512);
    assert_eq!(driver.ask(IN, 9, &[to]), (IO_ERROR, 1));
    assert_eq!(byte_of(&image, 0), 0x5a);
}

#[test]
fn the_disk_is_read_into_a_writable_window() {
    let (mut running, image) = with_window(BOTH);
    let to = Buffer::writable(WINDOW + PAGE, 512);
    assert_eq!(running.driver.ask(IN, 9, &[to]), (OK, 513));
    assert_eq!(byte_of(&image, PAGE + 511), pattern(9));
    assert_eq!(byte_of(&image, PAGE + 512), 0x5a);
}

#[test]
fn data_beyond_the_end_of_the_file_is_an_error() {
    let (mut running, image) = with_window(BOTH);
    image.set_len(PAGE).unwrap();
    let driver = &mut running.driver;
    for (addr, len) in [(WINDOW + PAGE, 512), (WINDOW + PAGE - 512, 1024)] {
        assert_eq!(
            driver.ask(OUT, 9, &[Buffer::readable(addr, len)]),
            (IO_ERROR, 1)
        );
        assert_eq!(
            driver.ask(IN, 9, &[Buffer::writable(addr, len)]),
            (IO_ERROR, 1)
        );
    }
    assert_eq!(driver.read(3, 512), (OK, sector_of(pattern(3))));
}

#[test]
fn headers_and_statuses_in_a_window_are_refused() {
    let (mut running, image) = with_window(BOTH);
    // A sound header is there; it is not looked at.
    image.write_all_at(&[0; 16], 0).unwrap();
    image.set_len(PAGE).unwrap();
    let slot = running.driver.slot(FLUSH, 0);
    for at in [WINDOW, WINDOW + PAGE] {
        let queue = &mut running.driver.queues[0];
        queue.offer(&[Buffer::readable(at, 16), Buffer::writable(slot.status, 1)]);
        queue.notify();
        assert_eq!(queue.wait_used().1, 1);
        assert_eq!(running.driver.status(slot), IO_ERROR);
        running.driver.guest.write(slot.status, &[NO_ANSWER]);

        let queue = &mut running.driver.queues[0];
        queue.offer(&[Buffer::readable(slot.header, 16), Buffer::writable(at, 1)]);
        queue.notify();
        assert_eq!(queue.wait_used().1, 0);
    }
    assert_eq!(byte_of(&image, 0), 0);
    assert_eq!(running.driver.read(3, 512), (OK, sector_of(pattern(3))));
}
