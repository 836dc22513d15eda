//! Threat: entries that are exchanged while the server looks, by another client or on the host.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use cenote_fuse::testing::Share;
use cenote_fuse::wire::ROOT;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// How often the client tries: each time the other side may be anywhere.
const TRIES: usize = 3000;

struct Ended<'a>(&'a AtomicBool);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Exchanges two paths without a pause, as long as `tries` runs.
fn while_exchanging(share: &Share, first: &str, second: &str, tries: impl FnOnce()) {
    let over = AtomicBool::new(false);
    let (first, second) = (share.inside.join(first), share.inside.join(second));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &first, CWD, &second, RenameFlags::EXCHANGE)
                    .unwrap();
            }
        });
        // Also when the tries end in a panic.
        let _ended = Ended(&over);
        tries();
    });
}

#[test]
fn a_folder_that_becomes_a_link_and_back() {
    let share = Share::new();
    fs::create_dir(share.inside.join("d")).unwrap();
    symlink(&share.outside, share.inside.join("l")).unwrap();
    let mut client = share.client();
    let (mut folders, mut links) = (0, 0);
    while_exchanging(&share, "d", "l", || {
        for _ in 0..TRIES {
            let found = client.lookup(ROOT, "d").unwrap();
            if found.attr.mode & libc::S_IFMT == libc::S_IFDIR {
                folders += 1;
                assert_eq!(
                    client.lookup(found.node, "secret").unwrap_err(),
                    Errno::NOENT
                );
                client.create(found.node, "made", libc::O_CREAT).unwrap();
                client.unlink(found.node, "made").unwrap();
            } else {
                links += 1;
                assert_eq!(client.mkdir(found.node, "made").unwrap_err(), Errno::NOTDIR);
            }
            client.forget(found.node, 1);
        }
    });
    assert!(folders > 0 && links > 0, "{folders} folders, {links} links");
    share.assert_outside_untouched();
}

#[test]
fn a_file_that_becomes_a_link_and_back() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "mine").unwrap();
    symlink(share.outside.join("secret"), share.inside.join("l")).unwrap();
    let mut client = share.client();
    while_exchanging(&share, "f", "l", || {
        for _ in 0..TRIES {
            let flags = libc::O_RDWR | libc::O_CREAT;
            match client.create(ROOT, "f", flags) {
                Ok(created) => {
                    assert_eq!(client.read(created.open.fh, 0, 16).unwrap(), b"mine");
                    client.write(created.open.fh, 0, b"mine").unwrap();
                    client.release(created.open.fh).unwrap();
                    client.forget(created.entry.node, 1);
                }
                Err(error) => assert_eq!(error, Errno::LOOP),
            }
        }
    });
    share.assert_outside_untouched();
    drop(client.send(cenote_fuse::wire::Opcode::Destroy, 0, &[]));
    assert_eq!(client.server.directory().known(), (1, 0, 0));
}

#[test]
fn a_folder_that_moves_up_and_down() {
    let share = Share::new();
    fs::create_dir_all(share.inside.join("a/b")).unwrap();
    fs::create_dir(share.inside.join("b")).unwrap();
    fs::write(share.inside.join("a/b/deep"), "deep").unwrap();
    let mut client = share.client();
    let a = client.lookup(ROOT, "a").unwrap().node;
    while_exchanging(&share, "a/b", "b", || {
        for _ in 0..TRIES {
            let b = client.lookup(a, "b").unwrap().node;
            match client.lookup(b, "deep") {
                Ok(deep) => client.forget(deep.node, 1),
                Err(error) => assert_eq!(error, Errno::NOENT),
            }
            assert_eq!(client.lookup(b, "..").unwrap_err(), Errno::INVAL);
            client.forget(b, 1);
        }
    });
    share.assert_outside_untouched();
}
