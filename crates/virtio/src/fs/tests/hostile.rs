//! Chains that no honest driver makes: each is something valid with one thing broken.

use cenote_fuse::wire::{InHeader, ReadIn, WRITE_HEAD, WriteIn};
use zerocopy::FromZeros;

use super::*;
use crate::fs::fake_driver::HEADER;
use crate::testing::{NEXT, RAM_SIZE, WRITE};

impl Running {
    /// The device still serves.
    fn serves(&mut self) {
        self.driver.ask(Opcode::Statfs, ROOT, &[]).unwrap();
    }

    /// Offers `buffers` on the first request queue; the bytes that the device says to have written.
    fn give(&mut self, buffers: &[Buffer]) -> u32 {
        let queue = &mut self.driver.queues[1];
        let head = queue.offer(buffers);
        queue.notify();
        let (used, written) = queue.wait_used();
        assert_eq!(used, head);
        written
    }

    /// Offers a STATFS in `buffers`, of which the first is the message; the reply's error.
    fn refused(&mut self, message: &[u8], room: u32) -> i32 {
        self.driver.exchange(message, room).0.error
    }

    fn message_buffer(&self, message: &[u8]) -> Buffer {
        self.driver.guest.write(self.driver.head, message);
        Buffer::readable(self.driver.head, message.len() as u32)
    }
}

#[test]
fn a_message_that_is_too_short_for_its_header_gets_no_reply() {
    let mut running = Running::new();
    let message = running.driver.message(Opcode::Statfs, ROOT, &[], 0);
    let room = Buffer::writable(running.driver.reply, 256);
    let whole = running.message_buffer(&message);
    assert!(running.give(&[whole, room]) > HEADER);
    for len in [1, 39] {
        let short = running.message_buffer(&message[..len]);
        assert_eq!(running.give(&[short, room]), 0);
    }
    // Nothing to read at all.
    assert_eq!(running.give(&[room]), 0);
    running.serves();
}

#[test]
fn a_length_that_does_not_hold_is_refused() {
    let mut running = Running::new();
    let message = running.driver.message(Opcode::Statfs, ROOT, &[], 0);
    for wrong in [0, 39, 41, u32::MAX] {
        let mut message = message.clone();
        message[..4].copy_from_slice(&wrong.to_ne_bytes());
        assert_eq!(running.refused(&message, 256), -libc::EINVAL);
    }
    running.serves();
}

#[test]
fn a_message_in_pieces_is_one_message() {
    let mut running = Running::new();
    let message = running.driver.message(Opcode::Lookup, ROOT, &[b"f\0"], 0);
    fs::write(running.driver.share.inside.join("f"), "").unwrap();
    running.driver.guest.write(running.driver.head, &message);
    let at = running.driver.head;
    let mut buffers: Vec<_> = (0..message.len() as u64)
        .map(|i| Buffer::readable(at + i, 1))
        .collect();
    let reply = running.driver.reply;
    buffers.extend((0..200).map(|i| Buffer::writable(reply + i, 1)));
    assert!(running.give(&buffers) > HEADER);
    assert_eq!(running.driver.reply(HEADER + 128).0.error, 0);
}

#[test]
fn a_message_outside_of_ram_is_not_read() {
    let mut running = Running::new();
    let message = running.driver.message(Opcode::Lookup, ROOT, &[b"f\0"], 0);
    let room = Buffer::writable(running.driver.reply, 256);
    for addr in [RAM_SIZE, RAM_SIZE - 39, u64::MAX, u64::MAX - 39] {
        let there = Buffer::readable(addr, message.len() as u32);
        assert_eq!(running.give(&[there, room]), 0, "{addr:#x}");
    }
    // The header is there, and the rest is not.
    let mut message = running
        .driver
        .message(Opcode::Setxattr, ROOT, &[&[0; 100]], 0);
    message.truncate(90);
    let header = running.message_buffer(&message);
    let written = running.give(&[header, Buffer::readable(RAM_SIZE - 10, 50), room]);
    assert_eq!(running.driver.reply(written).0.error, -libc::EFAULT);
    running.serves();
}

#[test]
fn a_reply_outside_of_ram_is_not_written() {
    let mut running = Running::new();
    let message = running.driver.message(Opcode::Statfs, ROOT, &[], 0);
    for addr in [RAM_SIZE, RAM_SIZE - 8, u64::MAX - 8] {
        let message = running.message_buffer(&message);
        assert_eq!(running.give(&[message, Buffer::writable(addr, 256)]), 0);
    }
    running.serves();
}

#[test]
fn a_reply_without_room_teaches_the_client_nothing() {
    let mut running = Running::new();
    fs::write(running.driver.share.inside.join("f"), "").unwrap();
    let message = running.driver.message(Opcode::Lookup, ROOT, &[b"f\0"], 0);
    let whole = HEADER + 128;
    assert_eq!(running.refused(&message, whole), 0);
    assert_eq!(running.driver.server.directory().known().0, 2);
    // Room for an error, but not for the entry: the node is not counted.
    assert_eq!(running.refused(&message, whole - 1), -libc::EIO);
    assert_eq!(running.refused(&message, HEADER), -libc::EIO);
    // Not even that.
    let node = running.driver.lookup("f").unwrap().node;
    let message = running.message_buffer(&message);
    let reply = running.driver.reply;
    assert_eq!(running.give(&[message, Buffer::writable(reply, 15)]), 0);
    assert_eq!(running.give(&[message]), 0);
    // Two were told.
    let forget = ForgetIn { nlookup: 2 };
    let message = running
        .driver
        .message(Opcode::Forget, node, &[forget.as_bytes()], 0);
    running.driver.offer(1, &message, &[]);
    running.driver.queues[1].wait_used();
    assert_eq!(running.driver.server.directory().known().0, 1);
}

#[test]
fn a_read_of_more_than_there_is_room_for_is_refused() {
    let mut running = Running::new();
    let fh = running.driver.create("f");
    fs::write(running.driver.share.inside.join("f"), "some data").unwrap();
    let data = running.driver.data;
    let room = |len| [Buffer::writable(data, len)];
    assert_eq!(running.driver.read(fh, 0, 100, &room(100)), Ok(9));
    let refused = running.driver.read(fh, 0, 100, &room(99));
    assert_eq!(refused, Err(Errno::INVAL));
    assert_eq!(running.driver.read(fh, 0, 100, &[]), Err(Errno::INVAL));
    // The part that is outside of RAM is not needed for what the file has, but it is not there.
    let hole = [
        Buffer::writable(data, 50),
        Buffer::writable(RAM_SIZE + 4096, 50),
    ];
    let refused = running.driver.read(fh, 0, 100, &hole);
    assert_eq!(refused, Err(Errno::FAULT));
    // More than the server gives at once, in a chain that would take it.
    let large = [Buffer::writable(data, 2 << 20)];
    assert_eq!(running.driver.read(fh, 0, 2 << 20, &large), Ok(9));
    running.serves();
}

#[test]
fn a_read_header_may_be_split_anywhere() {
    let mut running = Running::new();
    let fh = running.driver.create("f");
    fs::write(running.driver.share.inside.join("f"), "some data").unwrap();
    let mut arguments = ReadIn::new_zeroed();
    (arguments.fh, arguments.size) = (fh, 100);
    let message = running
        .driver
        .message(Opcode::Read, ROOT, &[arguments.as_bytes()], 0);
    let (message, reply) = (running.message_buffer(&message), running.driver.reply);
    let pieces = [(0, 3), (3, 16), (19, 97)];
    let pieces = pieces.map(|(at, len)| Buffer::writable(reply + at, len));
    let written = running.give(&[&[message][..], &pieces].concat());
    assert_eq!(written, HEADER + 9);
    let (header, body) = running.driver.reply(written);
    assert_eq!((header.error, &body[..]), (0, &b"some data"[..]));
}

#[test]
fn a_write_whose_data_are_not_as_long_as_it_says_is_refused() {
    let mut running = Running::new();
    let fh = running.driver.create("f");
    let data = [Buffer::readable(running.driver.data, 100)];
    assert_eq!(running.driver.write(fh, 0, 100, &data), Ok(100));
    for wrong in [99, 101, 0, u32::MAX - 80] {
        let refused = running.driver.write(fh, 0, wrong, &data);
        assert_eq!(refused, Err(Errno::INVAL), "{wrong}");
    }
    let huge = [Buffer::readable(running.driver.data, (1 << 20) + 1)];
    let refused = running.driver.write(fh, 0, (1 << 20) + 1, &huge);
    assert_eq!(refused, Err(Errno::TOOBIG));
    let hole = [Buffer::readable(RAM_SIZE - 50, 100)];
    let refused = running.driver.write(fh, 100, 100, &hole);
    assert_eq!(refused, Err(Errno::FAULT));
    let refused = running.driver.write(fh, u64::MAX - 50, 100, &data);
    assert_eq!(refused, Err(Errno::INVAL));
    assert_eq!(running.driver.lookup("f").unwrap().attr.size, 100);
}

#[test]
fn data_may_lie_over_the_message_and_the_reply() {
    // What the guest does to its own memory is its own matter: the head was copied.
    let mut running = Running::new();
    let fh = running.driver.create("f");
    fs::write(running.driver.share.inside.join("f"), [7; 200]).unwrap();
    let (head, reply) = (running.driver.head, running.driver.reply);
    for at in [head, reply, reply + 4] {
        let mut arguments = ReadIn::new_zeroed();
        (arguments.fh, arguments.size) = (fh, 200);
        let message = running
            .driver
            .message(Opcode::Read, ROOT, &[arguments.as_bytes()], 0);
        let message = running.message_buffer(&message);
        let room = [Buffer::writable(reply, HEADER), Buffer::writable(at, 200)];
        assert_eq!(
            running.give(&[&[message][..], &room].concat()),
            HEADER + 200
        );
    }
    running.serves();
}

#[test]
fn a_message_longer_than_any_is_refused() {
    let mut running = Running::new();
    let limit = (72 << 10) - size_of::<InHeader>();
    let refused = |running: &mut Running, len| {
        let message = running
            .driver
            .message(Opcode::Setxattr, ROOT, &[&vec![b'a'; len]], 0);
        running.refused(&message, 256)
    };
    assert_eq!(refused(&mut running, limit), -libc::EINVAL);
    assert_eq!(refused(&mut running, limit + 1), -libc::E2BIG);
    // 4 GiB in one buffer of which only the header is there.
    let message = running.driver.message(Opcode::Statfs, ROOT, &[], 0);
    let at = RAM_SIZE - WRITE_HEAD as u64;
    running.driver.guest.write(at, &message);
    let buffers = [
        Buffer::readable(at, u32::MAX),
        Buffer::writable(running.driver.reply, 1),
    ];
    assert_eq!(running.give(&buffers), 0);
    running.serves();
}

#[test]
fn a_chain_that_cannot_be_walked_is_given_back() {
    let mut running = Running::new();
    let queue = &mut running.driver.queues[1];
    let reply = running.driver.reply;
    // A loop; a readable buffer after a writable one; a descriptor that is not there.
    queue.describe(500, reply, 16, NEXT, 500);
    queue.describe(501, reply, 16, NEXT | WRITE, 502);
    queue.describe(502, reply, 16, 0, 0);
    queue.describe(503, reply, 16, NEXT, 9999);
    for head in [500, 501, 503] {
        queue.publish(head);
        queue.notify();
        assert_eq!(queue.wait_used(), (head, 0));
    }
    running.serves();
}

#[test]
fn a_broken_ring_takes_no_other_with_it() {
    let mut running = Running::with(FakeDriver::new(2));
    let queue = &mut running.driver.queues[2];
    queue.publish(9999);
    queue.notify();
    running.serves();
    // It has no position once its thread has looked at it.
    loop {
        let positions = running.device.pause();
        let [Some(_), Some(_), broken] = positions[..] else {
            panic!("another ring is broken")
        };
        if broken.is_none() {
            break;
        }
        running.go_on(&positions);
    }
}

#[test]
fn operations_that_nobody_knows_are_answered() {
    let mut running = Running::new();
    for number in [0, 7, 39, 100, 4096, u32::MAX] {
        let mut message = running.driver.message(Opcode::Statfs, ROOT, &[], 0);
        message[4..8].copy_from_slice(&number.to_ne_bytes());
        assert_eq!(running.refused(&message, 256), -libc::ENOSYS, "{number}");
    }
    // A WRITE without arguments.
    let message = running.driver.message(Opcode::Write, ROOT, &[], 0);
    assert_eq!(running.refused(&message, 256), -libc::EINVAL);
    let arguments = WriteIn::new_zeroed();
    let message = running
        .driver
        .message(Opcode::Write, ROOT, &[&arguments.as_bytes()[..39]], 0);
    assert_eq!(running.refused(&message, 256), -libc::EINVAL);
}
