//! What `/dev/fuse` brings, of which a fuzzer writes every byte.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown,
    socketpair,
};
use zerocopy::FromBytes;

use super::Share;
use crate::device::Reader;
use crate::server::DATA_LIMIT;
use crate::wire::OutHeader;

/// How many messages one play has: more teach nothing new.
const MESSAGES: usize = 64;

/// Plays `data` as what `/dev/fuse` gives to the reads of a thread: two bytes (little-endian) with a message's length, and
/// the message, which may claim another one.
///
/// # Panics
///
/// If a request gets out of the directory, if a reply is not what a write to `/dev/fuse` must be, or if anything is left once
/// the client has gone: these are defects.
pub fn device(data: &[u8]) {
    let (share, server) = Share::served();
    // As with the device, a message is a read, and a reply is a write.
    let (device, kernel) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )
    .expect("a socket pair");
    let reader = Reader::start(Arc::new(device), &server).expect("a reader");
    std::thread::scope(|scope| {
        let replies = scope.spawn(|| check_replies(&kernel));
        let mut rest = data;
        for _ in 0..MESSAGES {
            let [low, high, after @ ..] = rest else { break };
            let len = usize::from(u16::from_le_bytes([*low, *high]));
            let (message, after) = after.split_at(after.len().min(len));
            rest = after;
            // An empty one would be the end.
            if !message.is_empty() {
                send(&kernel, message, SendFlags::empty()).expect("a message");
            }
        }
        shutdown(&kernel, Shutdown::Write).expect("a socket");
        reader.join().expect("the reader lives");
        // Whoever waits for a lock has the device, too.
        server.client_gone();
        replies.join().expect("whole replies");
    });
    assert_eq!(
        server.directory().known(),
        (1, 0, 0),
        "something is left open"
    );
    share.assert_outside_untouched();
}

/// Takes all replies: each says its own length, and its error is one that Linux takes.
fn check_replies(kernel: &OwnedFd) {
    let mut reply = vec![0; DATA_LIMIT + size_of::<OutHeader>()];
    loop {
        let (len, _) = recv(kernel, &mut reply[..], RecvFlags::empty()).expect("a socket");
        if len == 0 {
            return;
        }
        let (header, _) = OutHeader::read_from_prefix(&reply[..len]).expect("a header");
        assert_eq!(header.len as usize, len);
        assert!((-511..=0).contains(&header.error), "{}", header.error);
    }
}
