//! Requests whose parts are in a window onto a file: data may be there, nothing else may.

use std::fs::File;
use std::os::unix::fs::FileExt;

use cenote_fuse::testing::as_one_user;

use super::*;
use crate::testing::ImageWindow;

const WINDOW: u64 = ImageWindow::ADDR;
const PAGE: u64 = ImageWindow::PAGE;
const READ: i32 = libc::PROT_READ;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A device, and the image that its guest sees in a window.
fn with_window(prot: i32) -> (Running, File) {
    let (image, guest) = ImageWindow::with_guest(prot);
    let running = Running::with(FakeDriver::in_guest(guest, 1, as_one_user()));
    (running, image)
}

#[test]
fn an_image_is_copied_into_a_file() {
    let (mut running, _image) = with_window(READ);
    let driver = &mut running.driver;
    let fh = driver.create("f");
    let from = [Buffer::readable(WINDOW + 100, 5000)];
    assert_eq!(driver.write(fh, 0, 5000, &from), Ok(5000));
    let path = driver.share.inside.join("f");
    assert_eq!(fs::read(path).unwrap(), [0x5a; 5000]);
    // But nothing is read into what may only be read.
    let into = [Buffer::writable(WINDOW, 100)];
    assert_eq!(driver.read(fh, 0, 100, &into), Err(Errno::FAULT));
}

#[test]
fn a_file_is_read_into_a_writable_window() {
    let (mut running, image) = with_window(BOTH);
    let driver = &mut running.driver;
    driver.guest.write(driver.data, &[1; 100]);
    let fh = driver.create("f");
    let from = [Buffer::readable(driver.data, 100)];
    assert_eq!(driver.write(fh, 0, 100, &from), Ok(100));
    let into = [Buffer::writable(WINDOW + PAGE, 100)];
    assert_eq!(driver.read(fh, 0, 100, &into), Ok(100));
    let mut bytes = [0; 101];
    image.read_exact_at(&mut bytes, PAGE).unwrap();
    assert_eq!(bytes[..100], [1; 100]);
    assert_eq!(bytes[100], 0x5a);
}

#[test]
fn what_is_beyond_the_end_of_the_file_is_an_error() {
    let (mut running, image) = with_window(BOTH);
    image.set_len(PAGE).unwrap();
    let driver = &mut running.driver;
    driver.guest.write(driver.data, &[1; 200]);
    let fh = driver.create("f");
    let from = [Buffer::readable(driver.data, 200)];
    assert_eq!(driver.write(fh, 0, 200, &from), Ok(200));
    let gone = [Buffer::writable(WINDOW + PAGE, 200)];
    assert_eq!(driver.read(fh, 0, 200, &gone), Err(Errno::FAULT));
    let gone = [Buffer::readable(WINDOW + PAGE, 200)];
    assert_eq!(driver.write(fh, 0, 200, &gone), Err(Errno::FAULT));
    assert_eq!(image.metadata().unwrap().len(), PAGE);
    // The queue lives on.
    assert_eq!(driver.lookup("f").unwrap().attr.size, 200);
}

#[test]
fn messages_in_a_window_are_not_looked_at() {
    let (mut running, image) = with_window(BOTH);
    let driver = &mut running.driver;
    let message = driver.message(Opcode::Statfs, ROOT, &[], 0);
    image.write_all_at(&message, 0).unwrap();
    let there = Buffer::readable(WINDOW, message.len() as u32);
    driver.queues[1].offer(&[there, Buffer::writable(driver.reply, 256)]);
    driver.queues[1].notify();
    assert_eq!(driver.queues[1].wait_used().1, 0);

    // Nor is a reply put there.
    let before = driver.server.directory().known();
    let there = Buffer::writable(WINDOW + PAGE, 4096);
    driver.offer(1, &message, &[there]);
    assert_eq!(driver.queues[1].wait_used().1, 0);
    let mut bytes = [0; 16];
    image.read_exact_at(&mut bytes, PAGE).unwrap();
    assert_eq!(bytes, [0x5a; 16]);
    assert_eq!(driver.server.directory().known(), before);
}
