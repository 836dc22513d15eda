//! Threat: a client that maps what it may not, or has it mapped where it should not be.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};

use cenote_fuse::passthrough::{Config, MapWindow, Passthrough};
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Attr, Opcode, ROOT, RemovemappingIn, RemovemappingOne, SetupmappingIn};
use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::IntoBytes;

/// What the window was asked.
#[derive(Debug, PartialEq, Eq)]
enum Asked {
    Map(u64, u64, u64, bool),
    Unmap(u64, u64),
    Clear,
}

#[derive(Debug, Clone, Default)]
struct FakeWindow(Arc<Mutex<Vec<Asked>>>);

impl FakeWindow {
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl MapWindow for FakeWindow {
    fn map(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        at: u64,
        len: u64,
        writable: bool,
    ) -> Result<(), Errno> {
        let mode = rustix::fs::fcntl_getfl(file.as_fd())? & OFlags::RWMODE;
        assert_eq!(mode == OFlags::RDWR, writable, "no more right than needed");
        self.0
            .lock()
            .unwrap()
            .push(Asked::Map(offset, at, len, writable));
        Ok(())
    }

    fn unmap(&self, at: u64, len: u64) -> Result<(), Errno> {
        self.0.lock().unwrap().push(Asked::Unmap(at, len));
        Ok(())
    }

    fn clear(&self) {
        self.0.lock().unwrap().push(Asked::Clear);
    }
}

fn client(share: &Share, config: Config) -> (FakeClient, FakeWindow) {
    let window = FakeWindow::default();
    let directory = Passthrough::new(&share.inside, config)
        .unwrap()
        .with_window(Box::new(window.clone()));
    let client = FakeClient::with(directory);
    assert_eq!(
        window.asked(),
        [Asked::Clear],
        "a new client has nothing mapped"
    );
    (client, window)
}

/// As Linux asks: the node says which file, and the length is 2 MiB whatever the file's is.
fn map(client: &mut FakeClient, node: u64, flags: u64) -> Result<(), Errno> {
    let arguments = SetupmappingIn {
        fh: u64::MAX,
        foffset: 2 << 20,
        len: 2 << 20,
        flags,
        moffset: 4 << 20,
    };
    client
        .send(Opcode::Setupmapping, node, &[arguments.as_bytes()])
        .map(|_| ())
}

const WRITE: u64 = SetupmappingIn::READ | SetupmappingIn::WRITE;

#[test]
fn a_file_is_mapped_and_taken_out_again() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "data").unwrap();
    let (mut client, window) = client(&share, as_one_user());
    let node = client.lookup(ROOT, "f").unwrap().node;
    map(&mut client, node, SetupmappingIn::READ).unwrap();
    map(&mut client, node, WRITE).unwrap();
    let count = RemovemappingIn { count: 2 };
    let ones = [
        RemovemappingOne {
            moffset: 4 << 20,
            len: 2 << 20,
        },
        RemovemappingOne { moffset: 0, len: 1 },
    ];
    let parts = [count.as_bytes(), ones.as_bytes()];
    client.send(Opcode::Removemapping, ROOT, &parts).unwrap();
    assert_eq!(
        window.asked(),
        [
            Asked::Map(2 << 20, 4 << 20, 2 << 20, false),
            Asked::Map(2 << 20, 4 << 20, 2 << 20, true),
            Asked::Unmap(4 << 20, 2 << 20),
            Asked::Unmap(0, 1),
        ]
    );
}

#[test]
fn only_files_are_mapped_and_only_to_read_where_nothing_else_is_allowed() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "data").unwrap();
    std::os::unix::fs::symlink(share.outside.join("secret"), share.inside.join("l")).unwrap();
    let read_only = Config {
        read_only: true,
        ..as_one_user()
    };
    let (mut client, window) = client(&share, read_only);
    let file = client.lookup(ROOT, "f").unwrap().node;
    let link = client.lookup(ROOT, "l").unwrap().node;
    assert_eq!(map(&mut client, file, WRITE), Err(Errno::ROFS));
    assert_eq!(
        map(&mut client, link, SetupmappingIn::READ),
        Err(Errno::LOOP)
    );
    assert_eq!(
        map(&mut client, ROOT, SetupmappingIn::READ),
        Err(Errno::ISDIR)
    );
    assert_eq!(
        map(&mut client, 99, SetupmappingIn::READ),
        Err(Errno::STALE)
    );
    assert_eq!(window.asked(), []);
}

#[test]
fn without_a_window_nothing_is_mapped() {
    let share = Share::new();
    let mut client = share.client();
    assert_eq!(map(&mut client, ROOT, WRITE), Err(Errno::NOSYS));
}

#[test]
fn large_files_are_marked_for_mapping() {
    let share = Share::new();
    fs::write(share.inside.join("small"), [0; 99]).unwrap();
    fs::write(share.inside.join("large"), [0; 100]).unwrap();
    let config = Config {
        map_from: Some(100),
        ..as_one_user()
    };
    let (mut client, _window) = client(&share, config);
    assert_eq!(client.lookup(ROOT, "small").unwrap().attr.flags, 0);
    assert_eq!(client.lookup(ROOT, "large").unwrap().attr.flags, Attr::DAX);
    assert_eq!(client.getattr(ROOT).unwrap().flags, 0);
}
