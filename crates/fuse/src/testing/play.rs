//! A client whose every byte a fuzzer writes.

use std::fs;
use std::path::Path;

use zerocopy::{FromBytes, IntoBytes};

use super::{FakeClient, Share, as_one_user};
use crate::passthrough::{Cache, Config, Locks, Passthrough};
use crate::wire::{EntryOut, InHeader, Opcode, ROOT, Request};

/// How many requests one play has: more teach nothing new.
const REQUESTS: usize = 64;

/// Plays `data` as requests: each is two bytes that choose operation and node, one that says how many bytes of arguments
/// follow, and these. Where the first byte is above 128, the message's header is left to the fuzzer as well.
///
/// # Panics
///
/// If a request gets out of the directory, or if anything is left once the client has gone: these are defects.
pub fn requests(data: &[u8]) {
    let share = Share::new();
    let inside = &share.inside;
    fs::write(inside.join("a"), "some data").expect("a file");
    fs::create_dir(inside.join("d")).expect("a folder");
    std::os::unix::fs::symlink("../outside", inside.join("l")).expect("a link");

    let (whole, known) = std::thread::scope(|scope| {
        let playing = scope.spawn(|| play(inside, data));
        playing.join().expect("the server lives")
    });
    assert!(whole, "a reply speaks of more than there is");
    assert_eq!(known, (1, 0, 0), "something is left open");
    share.assert_outside_untouched();
}

/// Whether all entries made sense, and what is open afterwards.
fn play(directory: &Path, data: &[u8]) -> (bool, (usize, usize, usize)) {
    let config = Config {
        locks: Locks::Host,
        cache: Cache::Always,
        descriptors: 4,
        ..as_one_user()
    };
    let directory = Passthrough::new(directory, config).expect("the directory");
    let mut client = FakeClient::with(directory);
    let mut nodes = vec![ROOT];
    for name in ["a", "d", "l"] {
        nodes.push(client.lookup(ROOT, name).expect("it is there").node);
    }
    let mut rest = data;
    let mut whole = true;
    for _ in 0..REQUESTS {
        let [first, second, len, after @ ..] = rest else {
            break;
        };
        let (body, after) = after.split_at(after.len().min(usize::from(*len)));
        rest = after;
        let opcode = Opcode::ALL[usize::from(*first) % Opcode::ALL.len()];
        // A new INIT would begin everything anew.
        if opcode == Opcode::Init {
            continue;
        }
        let node = nodes
            .get(usize::from(*second))
            .copied()
            .unwrap_or(u64::from(*second));
        let message = if *first > 128 {
            body.to_vec()
        } else {
            client.message(opcode, node, &[body])
        };
        check_parse(&message);
        if Request::header(&message).is_ok_and(|header| header.opcode == Opcode::Init as u32) {
            continue;
        }
        let Ok(Ok(reply)) = client.send_raw(&message) else {
            continue;
        };
        let tells = [Opcode::Lookup, Opcode::Create, Opcode::Mkdir, Opcode::Mknod];
        if tells.contains(&opcode)
            && let Ok((entry, _)) = EntryOut::read_from_prefix(&reply)
        {
            whole &= entry.node > ROOT || entry.attr.ino == 0;
            nodes.push(entry.node);
        }
    }
    drop(client.send(Opcode::Destroy, 0, &[]));
    (whole, client.server.directory().known())
}

/// Parses every beginning of a message: none but the whole one may be taken, and nothing may panic.
fn check_parse(message: &[u8]) {
    for end in 0..message.len() {
        assert!(
            Request::parse(&message[..end], 0).is_err(),
            "a message that ends early was taken"
        );
    }
    if let Ok(request) = Request::parse(message, 0) {
        assert_eq!(
            &message[..size_of::<InHeader>()],
            request.header.as_bytes(),
            "the header is what was sent"
        );
    }
}
