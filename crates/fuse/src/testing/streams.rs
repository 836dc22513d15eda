//! Streams whose every byte a fuzzer writes.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::Share;
use crate::stream::{Service, replies_to};

/// Sends everything but the first byte of `data` to a server (the first byte is even) or to a client's relay (odd).
///
/// # Panics
///
/// If a request gets out of the directory, if anything is left once the client has gone, or if the relay hands on
/// anything but whole messages: these are defects.
pub fn streams(data: &[u8]) {
    match data {
        [first, rest @ ..] if first % 2 == 0 => to_server(rest),
        [_, rest @ ..] => to_relay(rest),
        [] => {}
    }
}

fn to_server(bytes: &[u8]) {
    let (share, server) = Share::served();
    let mut service = Service::new(Arc::clone(&server), 2);
    let (ours, theirs) = UnixStream::pair().expect("a stream");
    service.add(ours.into()).expect("a service");
    send(&theirs, bytes);
    // Replies are taken, or whoever sends them would wait.
    let mut replies = Vec::new();
    drop((&theirs).read_to_end(&mut replies));
    drop(service);
    assert_eq!(
        server.directory().known(),
        (1, 0, 0),
        "something is left open"
    );
    share.assert_outside_untouched();
}

fn to_relay(bytes: &[u8]) {
    let (ours, theirs) = UnixStream::pair().expect("a stream");
    // Stands for /dev/fuse: what is written to it is one message.
    let (device, kernel) = UnixStream::pair().expect("a device");
    let taken = std::thread::spawn(move || {
        let mut taken = Vec::new();
        (&kernel).read_to_end(&mut taken).expect("the messages");
        taken
    });
    let relay = std::thread::spawn(move || {
        let device = OwnedFd::from(device);
        // How it ends is the unit tests' business.
        let _ = replies_to(&device, Arc::new(ours.into()));
    });
    send(&theirs, bytes);
    relay.join().expect("the relay lives");
    drop(theirs);
    let taken = taken.join().expect("the messages");
    assert!(bytes.starts_with(&taken), "messages were changed");
    let mut rest = &taken[..];
    while let [a, b, c, d, ..] = *rest {
        let len = u32::from_ne_bytes([a, b, c, d]) as usize;
        assert!(len >= 16 && len <= rest.len(), "part of a message");
        rest = &rest[len..];
    }
    assert!(rest.is_empty(), "part of a length");
}

/// Sends `bytes` and then the end.
fn send(mut stream: &UnixStream, bytes: &[u8]) {
    // Fails where the other end has seen enough.
    drop(stream.write_all(bytes));
    drop(stream.shutdown(std::net::Shutdown::Write));
}
