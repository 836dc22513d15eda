//! Threat: a symbolic link, made by the client or on the host, that points out of the directory.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use cenote_fuse::testing::Share;
use cenote_fuse::wire::{Opcode, ROOT, SetattrIn, SetxattrIn};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn a_link_is_found_and_never_followed() {
    let share = Share::new();
    let secret = share.outside.join("secret");
    symlink(&secret, share.inside.join("file")).unwrap();
    symlink(&share.outside, share.inside.join("folder")).unwrap();
    let mut client = share.client();

    let file = client.lookup(ROOT, "file").unwrap();
    assert_eq!(file.attr.mode & libc::S_IFMT, libc::S_IFLNK);
    assert_eq!(client.open(file.node, libc::O_RDONLY), Err(Errno::LOOP));
    assert_eq!(
        client.open(file.node, libc::O_WRONLY | libc::O_TRUNC),
        Err(Errno::LOOP)
    );

    let folder = client.lookup(ROOT, "folder").unwrap();
    assert_eq!(
        client.lookup(folder.node, "secret").unwrap_err(),
        Errno::NOTDIR
    );
    assert_eq!(client.opendir(folder.node), Err(Errno::NOTDIR));
    assert_eq!(client.mkdir(folder.node, "d").unwrap_err(), Errno::NOTDIR);
    assert_eq!(client.unlink(folder.node, "secret"), Err(Errno::NOTDIR));
    share.assert_outside_untouched();
}

#[test]
fn changing_a_links_attributes_changes_nothing_behind_it() {
    let share = Share::new();
    let secret = share.outside.join("secret");
    symlink(&secret, share.inside.join("l")).unwrap();
    let before = fs::metadata(&secret).unwrap();
    let mut client = share.client();
    let link = client.lookup(ROOT, "l").unwrap().node;

    let mut size = SetattrIn::new_zeroed();
    size.valid = SetattrIn::SIZE;
    assert_eq!(client.setattr(link, size).unwrap_err(), Errno::LOOP);

    let mut mode = SetattrIn::new_zeroed();
    (mode.valid, mode.mode) = (SetattrIn::MODE, 0o777);
    assert_eq!(client.setattr(link, mode).unwrap_err(), Errno::OPNOTSUPP);

    let mut times = SetattrIn::new_zeroed();
    (times.valid, times.mtime) = (SetattrIn::MTIME, 1);
    assert_eq!(client.setattr(link, times).unwrap().mtime, 1);

    let mut owner = SetattrIn::new_zeroed();
    owner.valid = SetattrIn::UID;
    owner.uid = client.uid;
    client.setattr(link, owner).unwrap();

    let xattr = SetxattrIn { size: 1, flags: 0 };
    let parts: [&[u8]; 3] = [xattr.as_bytes(), &[0; 8], b"user.x\0v"];
    assert_eq!(
        client.send(Opcode::Setxattr, link, &parts),
        Err(Errno::PERM),
        "links have no user attributes"
    );

    let after = fs::metadata(&secret).unwrap();
    assert_eq!(after.permissions().mode(), before.permissions().mode());
    assert_eq!(after.modified().unwrap(), before.modified().unwrap());
    share.assert_outside_untouched();
}

#[test]
fn creating_through_a_dangling_link_makes_nothing_outside() {
    let share = Share::new();
    symlink(share.outside.join("new"), share.inside.join("l")).unwrap();
    let mut client = share.client();
    assert_eq!(
        client
            .create(ROOT, "l", libc::O_WRONLY | libc::O_CREAT)
            .unwrap_err(),
        Errno::LOOP
    );
    assert_eq!(
        client
            .create(ROOT, "l", libc::O_WRONLY | libc::O_CREAT | libc::O_EXCL)
            .unwrap_err(),
        Errno::EXIST
    );
    share.assert_outside_untouched();
}

#[test]
fn a_hard_link_to_a_link_is_the_link() {
    let share = Share::new();
    symlink(share.outside.join("secret"), share.inside.join("l")).unwrap();
    let mut client = share.client();
    let link = client.lookup(ROOT, "l").unwrap().node;
    client
        .send(Opcode::Link, ROOT, &[link.as_bytes(), b"m\0"])
        .unwrap();
    let made = fs::symlink_metadata(share.inside.join("m")).unwrap();
    assert!(made.file_type().is_symlink());
    assert_eq!(client.unlink(ROOT, "m"), Ok(()));
    share.assert_outside_untouched();
}

#[test]
fn the_client_reads_where_a_link_points() {
    let share = Share::new();
    let mut client = share.client();
    let link = client.symlink(ROOT, "l", "../outside").unwrap().node;
    assert_eq!(
        client.send(Opcode::Readlink, link, &[]),
        Ok(b"../outside".to_vec())
    );
}
