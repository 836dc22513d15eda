//! Threat: a client that counts wrong, or does not listen, makes the server keep things for ever or lose them too early.

use std::fs;

use cenote_fuse::testing::Share;
use cenote_fuse::wire::{BatchForgetIn, Opcode, ROOT, ReadIn};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn a_node_lives_as_long_as_it_was_told_of() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "").unwrap();
    let mut client = share.client();
    let node = client.lookup(ROOT, "f").unwrap().node;
    assert_eq!(client.lookup(ROOT, "f").unwrap().node, node);
    client.forget(node, 1);
    assert!(client.getattr(node).is_ok());
    client.forget(node, 1);
    assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE);
    assert_eq!(client.server.directory().known(), (1, 0, 0));
    assert_ne!(
        client.lookup(ROOT, "f").unwrap().node,
        node,
        "numbers are not used again"
    );
}

#[test]
fn forgetting_too_much_is_forgetting_all() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "").unwrap();
    let mut client = share.client();
    let node = client.lookup(ROOT, "f").unwrap().node;
    client.forget(node, u64::MAX);
    client.forget(node, 1);
    client.forget(ROOT, u64::MAX);
    client.forget(12_345, 1);
    client.forget(0, 0);
    assert_eq!(client.server.directory().known().0, 1);
    assert!(client.getattr(ROOT).is_ok());
}

#[test]
fn many_are_forgotten_at_once() {
    let share = Share::new();
    let mut client = share.client();
    let mut items = Vec::new();
    for number in 0..100 {
        let node = client.mkdir(ROOT, &format!("d{number}")).unwrap().node;
        items.extend([node, 1]);
    }
    let count = BatchForgetIn {
        count: 100,
        dummy: 0,
    };
    let parts = [count.as_bytes(), items.as_bytes()];
    assert_eq!(client.send(Opcode::BatchForget, 0, &parts), Ok(vec![]));
    assert_eq!(client.server.directory().known().0, 1);
}

#[test]
fn replies_that_do_not_arrive_are_taken_back() {
    let share = Share::new();
    fs::create_dir(share.inside.join("d")).unwrap();
    fs::write(share.inside.join("f"), "").unwrap();
    let mut client = share.client();
    let (node, fh) = (
        client.lookup(ROOT, "f").unwrap().node,
        client.opendir(ROOT).unwrap(),
    );
    let before = client.server.directory().known();
    client.deaf = true;
    let mut read = ReadIn::new_zeroed();
    (read.fh, read.size) = (fh, 4096);
    let name: &[u8] = b"f\0";
    let new: &[u8] = b"new\0";
    let create: &[u8] = &[0; 16];
    let deaf: [(Opcode, u64, &[&[u8]]); 6] = [
        (Opcode::Lookup, ROOT, &[b"d\0"]),
        (Opcode::Open, node, &[&[0; 8]]),
        (Opcode::Opendir, ROOT, &[&[0; 8]]),
        (Opcode::Create, ROOT, &[create, new]),
        (Opcode::Readdirplus, ROOT, &[read.as_bytes()]),
        (Opcode::Lookup, ROOT, &[name]),
    ];
    for (opcode, node, parts) in deaf {
        let message = client.message(opcode, node, parts);
        assert!(client.send_raw(&message).is_err(), "{opcode:?}");
        assert_eq!(client.server.directory().known(), before, "{opcode:?}");
    }
    client.deaf = false;
    client.forget(node, 1);
    assert_eq!(client.getattr(node).unwrap_err(), Errno::STALE);
}

#[test]
fn a_client_that_begins_anew_knows_nothing() {
    let share = Share::new();
    let mut client = share.client();
    let made = client.create(ROOT, "f", libc::O_RDWR).unwrap();
    client.opendir(ROOT).unwrap();
    client.init().unwrap();
    assert_eq!(client.server.directory().known(), (1, 0, 0));
    assert_eq!(client.read(made.open.fh, 0, 1), Err(Errno::BADF));
}

#[test]
fn handles_are_what_they_were_opened_as() {
    let share = Share::new();
    let mut client = share.client();
    let made = client.create(ROOT, "f", libc::O_RDONLY).unwrap();
    let fh = made.open.fh;
    assert_eq!(
        client.write(fh, 0, b"x"),
        Err(Errno::BADF),
        "opened to read"
    );
    assert_eq!(client.readdir(ROOT, fh, 0, 512).unwrap_err(), Errno::BADF);
    for wrong in [0, fh + 1, u64::MAX] {
        assert_eq!(client.read(wrong, 0, 1), Err(Errno::BADF));
    }
    client.release(fh).unwrap();
    assert_eq!(client.read(fh, 0, 1), Err(Errno::BADF));
    assert_eq!(client.release(fh), Err(Errno::BADF));
}
