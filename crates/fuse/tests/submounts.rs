//! Threat: what is mounted below the shared directory, whose files have the numbers of others.

use std::collections::HashSet;
use std::fs;

use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Opcode, ROOT, StatxIn, StatxOut};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_change, unmount,
};
use rustix::thread::{UnshareFlags, unshare_unsafe};
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn files_of_several_file_systems_have_different_numbers() {
    let thread = std::thread::spawn(|| {
        // SAFETY: no memory and no descriptors are unshared, only the thread's view of the mounts.
        unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("run this test as root");
        let all = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", all).unwrap();
        let share = Share::new();
        for name in ["a", "b"] {
            let point = share.inside.join(name);
            fs::create_dir(&point).unwrap();
            mount("tmpfs", &point, "tmpfs", MountFlags::empty(), None).unwrap();
            fs::write(point.join("file"), name).unwrap();
        }
        // Another thread, since a client's gives its rights up.
        std::thread::scope(|scope| scope.spawn(|| numbers_differ(&share)).join().unwrap());
        // So that the folders can be removed.
        for name in ["a", "b"] {
            unmount(share.inside.join(name), UnmountFlags::DETACH).unwrap();
        }
    });
    thread.join().unwrap();
}

fn numbers_differ(share: &Share) {
    let mut client = FakeClient::new(&share.inside, as_one_user());
    let mut seen = HashSet::from([client.getattr(ROOT).unwrap().ino]);
    for name in ["a", "b"] {
        let folder = client.lookup(ROOT, name).unwrap();
        let file = client.lookup(folder.node, "file").unwrap();
        assert!(seen.insert(folder.attr.ino), "{name}");
        assert!(seen.insert(file.attr.ino), "{name}/file");
        // Whoever tells a number tells the same one.
        let number = file.attr.ino;
        assert_eq!(client.getattr(file.node).unwrap().ino, number);
        let all: StatxOut = client
            .get(
                Opcode::Statx,
                file.node,
                &[StatxIn::new_zeroed().as_bytes()],
            )
            .unwrap();
        assert_eq!(all.stat.ino, number);
        let fh = client.opendir(folder.node).unwrap();
        let listed = client.listed(folder.node, fh).unwrap();
        assert!(listed.contains(&("file".to_owned(), number)));
    }
}
