//! Threat: files that belong to the wrong user, and set-user-id bits that outlive a change.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use cenote_fuse::passthrough::{Config, IdMap, Ids, Owner, Range, Rule, XattrMap};
use cenote_fuse::testing::{FakeClient, Share};
use cenote_fuse::wire::{CopyFileRangeIn, FallocateIn, Opcode, ROOT, SetattrIn, WriteIn};
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

/// These tests need somebody who may act as anybody.
fn as_anybody(share: &Share, config: Config) -> FakeClient {
    assert!(
        rustix::process::geteuid().is_root(),
        "acting as other users needs root: run this test as root"
    );
    FakeClient::new(&share.inside, config)
}

#[test]
fn new_files_belong_to_whoever_asks() {
    let share = Share::new();
    let mut client = as_anybody(&share, Config::default());
    for (uid, gid) in [(1000, 100), (0, 0), (4242, 4242)] {
        (client.uid, client.gid) = (uid, gid);
        let attr = client.mkdir(ROOT, &format!("d{uid}")).unwrap().attr;
        assert_eq!((attr.uid, attr.gid), (uid, gid));
        let made = client
            .create(ROOT, &format!("f{uid}"), libc::O_RDWR)
            .unwrap();
        assert_eq!((made.entry.attr.uid, made.entry.attr.gid), (uid, gid));
    }
}

#[test]
fn what_a_rename_leaves_behind_belongs_to_whoever_asks() {
    let share = Share::new();
    let mut client = as_anybody(&share, Config::default());
    client.create(ROOT, "old", libc::O_RDWR).unwrap();
    (client.uid, client.gid) = (1000, 100);
    let whiteout = 4;
    client
        .rename((ROOT, "old"), (ROOT, "new"), whiteout)
        .unwrap();
    let left = fs::symlink_metadata(share.inside.join("old")).unwrap();
    assert_eq!((left.uid(), left.gid(), left.rdev()), (1000, 100, 0));
}

#[test]
fn an_impossible_user_is_refused() {
    let share = Share::new();
    let mut client = as_anybody(&share, Config::default());
    client.uid = u32::MAX;
    assert_eq!(client.mkdir(ROOT, "d").unwrap_err(), Errno::PERM);
    assert!(!share.inside.join("d").exists());
}

#[test]
fn a_folder_hands_its_group_down() {
    let share = Share::new();
    chown(&share.inside, Some(0), Some(77)).unwrap();
    fs::set_permissions(&share.inside, fs::Permissions::from_mode(0o2777)).unwrap();
    let mut client = as_anybody(&share, Config::default());
    (client.uid, client.gid) = (1000, 100);
    let attr = client.mkdir(ROOT, "d").unwrap().attr;
    assert_eq!((attr.gid, attr.mode & 0o7000), (77, 0o2000));
}

/// Whatever changes a program takes its capabilities away, which the host keeps under `name`.
fn changes_take_capabilities_away(xattrs: XattrMap, name: &str) {
    let share = Share::new();
    let file = share.inside.join("f");
    let config = Config {
        xattrs,
        ..Config::default()
    };
    let mut client = as_anybody(&share, config);
    let made = client.create(ROOT, "f", libc::O_RDWR).unwrap();
    // CAP_NET_RAW, permitted and effective: `vfs_cap_data` of version 2.
    let mut value = [0; 20];
    value[..5].copy_from_slice(&[1, 0, 0, 2, 1 << 5]);
    let set = || rustix::fs::setxattr(&file, name, &value, XattrFlags::empty()).unwrap();
    let kept = || match rustix::fs::getxattr(&file, name, &mut [0_u8; 64][..]) {
        Err(Errno::NODATA) => false,
        found => found.unwrap() == value.len(),
    };

    set();
    client.write(made.open.fh, 0, b"x").unwrap();
    assert!(!kept(), "a write, even root's");
    for (what, valid, remain) in [
        ("truncating", SetattrIn::SIZE, false),
        ("a new owner", SetattrIn::UID, false),
        ("a new group", SetattrIn::GID, false),
        ("a new mode", SetattrIn::MODE, true),
    ] {
        set();
        let mut change = SetattrIn::new_zeroed();
        (change.valid, change.uid, change.gid) = (valid, 1000, 100);
        client.setattr(made.entry.node, change).unwrap();
        assert_eq!(kept(), remain, "{what}");
    }
    set();
    let truncating = libc::O_WRONLY | libc::O_TRUNC;
    client.open(made.entry.node, truncating).unwrap();
    assert!(!kept(), "opening that truncates");
    set();
    let mut reserve = FallocateIn::new_zeroed();
    (reserve.fh, reserve.length) = (made.open.fh, 4096);
    client
        .send(Opcode::Fallocate, ROOT, &[reserve.as_bytes()])
        .unwrap();
    assert!(!kept(), "reserving room");
    set();
    let other = client.create(ROOT, "g", libc::O_RDWR).unwrap();
    client.write(other.open.fh, 0, b"other").unwrap();
    let mut copy = CopyFileRangeIn::new_zeroed();
    (copy.fh_in, copy.fh_out, copy.len) = (other.open.fh, made.open.fh, 5);
    client
        .send(Opcode::CopyFileRange, ROOT, &[copy.as_bytes()])
        .unwrap();
    assert!(!kept(), "copying from another file");
}

#[test]
fn changes_take_a_programs_capabilities_away() {
    changes_take_capabilities_away(XattrMap::default(), "security.capability");
}

#[test]
fn changes_take_capabilities_away_that_have_another_name_on_the_host() {
    let map = XattrMap::new(vec![Rule::Prefix {
        client: "security.".to_owned(),
        host: "user.guest.".to_owned(),
    }]);
    changes_take_capabilities_away(map, "user.guest.security.capability");
}

#[test]
fn writing_clears_bits_unless_the_writer_may_leave_them() {
    let others = Owner::of(1000, 1000);
    for ids in [Ids::Same, Ids::Owner(Owner::of(0, 0)), Ids::Owner(others)] {
        // What a server gives up, its thread has not for the next one.
        let thread = std::thread::spawn(|| writing_clears_bits(ids));
        thread.join().unwrap();
    }
}

fn writing_clears_bits(ids: Ids) {
    let share = Share::new();
    let file = share.inside.join("f");
    let config = Config {
        ids,
        ..Config::default()
    };
    let mut client = as_anybody(&share, config);
    let made = client.create(ROOT, "f", libc::O_RDWR).unwrap();
    let mode = || fs::metadata(&file).unwrap().mode() & 0o7777;
    let set = || fs::set_permissions(&file, fs::Permissions::from_mode(0o6755)).unwrap();

    set();
    client.write(made.open.fh, 0, b"x").unwrap();
    assert_eq!(mode(), 0o6755, "root's writes leave them");

    let mut write = WriteIn::new_zeroed();
    (write.fh, write.size, write.write_flags) = (made.open.fh, 1, WriteIn::KILL_SUIDGID);
    client
        .send(Opcode::Write, ROOT, &[write.as_bytes(), b"x"])
        .unwrap();
    assert_eq!(mode(), 0o755, "an ordinary user's do not");

    set();
    let mut size = SetattrIn::new_zeroed();
    size.valid = SetattrIn::SIZE | SetattrIn::KILL_SUIDGID;
    client.setattr(made.entry.node, size).unwrap();
    assert_eq!(mode(), 0o755);

    let mut bits = SetattrIn::new_zeroed();
    (bits.valid, bits.mode) = (SetattrIn::MODE, 0o6755);
    client.setattr(made.entry.node, bits).unwrap();
    assert_eq!(mode(), 0o6755, "and a new mode is taken as it is");

    let mut owner = SetattrIn::new_zeroed();
    (owner.valid, owner.uid) = (SetattrIn::UID, 1000);
    client.setattr(made.entry.node, owner).unwrap();
    assert_eq!(mode(), 0o755, "giving a file away clears them");
}

#[test]
fn ids_are_mapped_both_ways() {
    let share = Share::new();
    let me = rustix::process::getuid().as_raw();
    let map = |host| {
        IdMap(vec![Range {
            host,
            client: 1000,
            count: 1,
        }])
    };
    let ids = Ids::Mapped {
        users: map(me),
        groups: map(rustix::process::getgid().as_raw()),
    };
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            ids,
            ..Config::default()
        },
    );
    client.uid = 55;
    let made = client.mkdir(ROOT, "d").unwrap();
    assert_eq!((made.attr.uid, made.attr.gid), (1000, 1000));
    assert_eq!(fs::metadata(share.inside.join("d")).unwrap().uid(), me);

    let mut owner = SetattrIn::new_zeroed();
    (owner.valid, owner.uid) = (SetattrIn::UID, 1000);
    assert!(
        client.setattr(made.node, owner).is_ok(),
        "it is that already"
    );
    owner.uid = 0;
    assert_eq!(client.setattr(made.node, owner).unwrap_err(), Errno::PERM);
}

#[test]
fn all_files_are_one_users_and_giving_them_away_changes_nothing() {
    let share = Share::new();
    fs::write(share.inside.join("others"), "").unwrap();
    let me = rustix::process::getuid().as_raw();
    chown(share.inside.join("others"), Some(me + 1), None).unwrap();
    let owner = Owner::of(me, rustix::process::getgid().as_raw());
    owner.becomes(1000, 100);
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            ids: Ids::Owner(owner),
            ..Config::default()
        },
    );
    assert_eq!(client.lookup(ROOT, "others").unwrap().attr.uid, 65_534);
    (client.uid, client.gid) = (55, 55);
    let made = client.mkdir(ROOT, "d").unwrap();
    assert_eq!((made.attr.uid, made.attr.gid), (1000, 100));
    for (uid, gid) in [(0, 0), (1000, 100), (55, 55)] {
        let mut owner = SetattrIn::new_zeroed();
        (owner.valid, owner.uid, owner.gid) = (SetattrIn::UID | SetattrIn::GID, uid, gid);
        let told = client.setattr(made.node, owner).unwrap();
        assert_eq!((told.uid, told.gid), (1000, 100));
    }
    assert_eq!(fs::metadata(share.inside.join("d")).unwrap().uid(), me);
}

#[test]
fn owners_that_the_host_cannot_have_are_kept() {
    let share = Share::new();
    let me = rustix::process::getuid().as_raw();
    let owner = Owner::of(me, rustix::process::getgid().as_raw()).keeping();
    let config = || Config {
        ids: Ids::Owner(owner.clone()),
        ..Config::default()
    };
    let give = |client: &mut FakeClient, node: u64, uid: u32, gid: u32| {
        let mut owner = SetattrIn::new_zeroed();
        (owner.valid, owner.uid, owner.gid) = (SetattrIn::UID | SetattrIn::GID, uid, gid);
        let told = client.setattr(node, owner).unwrap();
        (told.uid, told.gid)
    };
    let mut client = FakeClient::new(&share.inside, config());
    // Root is the main user here, and gives its files away.
    let data = client.mkdir(ROOT, "data").unwrap();
    assert_eq!((data.attr.uid, data.attr.gid), (0, 0));
    assert_eq!(give(&mut client, data.node, 999, 998), (999, 998));
    assert_eq!(give(&mut client, ROOT, 5, 6), (5, 6));
    // What others make is theirs; a set-group-id folder hands down its group.
    (client.uid, client.gid) = (999, 998);
    let file = client.create(data.node, "file", libc::O_RDWR).unwrap();
    assert_eq!((file.entry.attr.uid, file.entry.attr.gid), (999, 998));
    let mut bits = SetattrIn::new_zeroed();
    (bits.valid, bits.mode) = (SetattrIn::MODE, 0o2750);
    client.setattr(data.node, bits).unwrap();
    client.gid = 7;
    let inner = client.mkdir(data.node, "inner").unwrap();
    assert_eq!((inner.attr.uid, inner.attr.gid), (999, 998));
    // A change of the owner takes bits along that would give its rights.
    (bits.valid, bits.mode) = (SetattrIn::MODE, 0o4755);
    client.setattr(file.entry.node, bits).unwrap();
    assert_eq!(give(&mut client, file.entry.node, 0, 0), (0, 0));
    let here = share.inside.join("data/file");
    assert_eq!(fs::metadata(&here).unwrap().mode() & 0o7777, 0o755);
    assert_eq!(fs::metadata(&here).unwrap().uid(), me);

    // It is not the client's to see or set, and another client finds it.
    assert_eq!(
        client.send(
            Opcode::Getxattr,
            data.node,
            &[&[0; 8], b"user.cenote.owner\0"]
        ),
        Err(Errno::NODATA)
    );
    let mut client = FakeClient::new(&share.inside, config());
    let data = client.lookup(ROOT, "data").unwrap();
    assert_eq!((data.attr.uid, data.attr.gid), (999, 998));
    // Nobody believes what is no owner.
    let garbage = [
        "",
        ":",
        "1:",
        "-1:2",
        "4294967295:0",
        "99999999999:0",
        "1:2:3",
    ];
    for value in garbage {
        let path = share.inside.join("data");
        rustix::fs::setxattr(
            &path,
            "user.cenote.owner",
            value.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
        assert_eq!(client.getattr(data.node).unwrap().uid, 0, "{value}");
    }
}

#[test]
fn new_files_belong_to_the_one_owner() {
    let share = Share::new();
    let owner = Owner::of(4242, 4243);
    owner.becomes(1000, 1001);
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            ids: Ids::Owner(owner),
            ..Config::default()
        },
    );
    (client.uid, client.gid) = (55, 55);
    let made = client.mkdir(ROOT, "d").unwrap();
    assert_eq!((made.attr.uid, made.attr.gid), (1000, 1001));
    let found = fs::metadata(share.inside.join("d")).unwrap();
    assert_eq!((found.uid(), found.gid()), (4242, 4243));
}
