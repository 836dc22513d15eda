//! Threat: a client of a single file that gets at the rest of its directory.

use std::fs;

use cenote_fuse::passthrough::Config;
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Opcode, ROOT, SetattrIn};
use rustix::io::Errno;
use zerocopy::FromZeros;

#[test]
fn a_share_of_one_file_shows_and_changes_nothing_else() {
    let share = Share::new();
    fs::write(share.inside.join("file"), "data").unwrap();
    // More entries than the server takes from the host at once.
    for number in 0..2000 {
        fs::write(share.inside.join(format!("sibling{number}")), "secret").unwrap();
    }
    let before = fs::metadata(&share.inside).unwrap();
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            only: Some(c"file".into()),
            ..as_one_user()
        },
    );
    assert_eq!(client.lookup(ROOT, "sibling0").unwrap_err(), Errno::NOENT);
    assert_eq!(client.lookup(ROOT, "missing").unwrap_err(), Errno::NOENT);
    let fh = client.opendir(ROOT).unwrap();
    let listed = client.readdir(ROOT, fh, 0, 4096).unwrap();
    assert_eq!((listed.len(), listed[0].0.as_str()), (1, "file"));
    assert_eq!(client.readdir(ROOT, fh, listed[0].1, 4096).unwrap(), []);

    let node = client.lookup(ROOT, "file").unwrap().node;
    let fh = client.open(node, libc::O_RDWR).unwrap();
    client.write(fh, 0, b"DATA").unwrap();
    assert_eq!(fs::read(share.inside.join("file")).unwrap(), b"DATA");

    let zeros = [0; 88];
    let into_root: [(Opcode, &[&[u8]]); 15] = [
        (Opcode::Setattr, &[&zeros]),
        (Opcode::Symlink, &[b"l\0t\0"]),
        (Opcode::Mknod, &[&zeros[..16], b"n\0"]),
        (Opcode::Mkdir, &[&zeros[..8], b"n\0"]),
        (Opcode::Unlink, &[b"file\0"]),
        (Opcode::Unlink, &[b"sibling0\0"]),
        (Opcode::Rmdir, &[b"sibling0\0"]),
        (Opcode::Rename, &[&ROOT.to_ne_bytes(), b"file\0sibling1\0"]),
        (Opcode::Link, &[&node.to_ne_bytes(), b"n\0"]),
        (Opcode::Create, &[&zeros[..16], b"n\0"]),
        (Opcode::Create, &[&zeros[..16], b"sibling0\0"]),
        (Opcode::Tmpfile, &[&zeros[..16], b"/\0"]),
        (Opcode::Setxattr, &[&zeros[..16], b"user.x\0"]),
        (Opcode::Getxattr, &[&zeros[..8], b"user.x\0"]),
        (Opcode::Removexattr, &[b"user.x\0"]),
    ];
    for (opcode, parts) in into_root {
        let refused = client.send(opcode, ROOT, parts);
        assert_eq!(refused, Err(Errno::PERM), "{opcode:?}");
    }
    // The file's own properties are the client's to change.
    let mut mode = SetattrIn::new_zeroed();
    (mode.valid, mode.mode) = (SetattrIn::MODE, 0o600);
    client.setattr(node, mode).unwrap();
    let after = fs::metadata(&share.inside).unwrap();
    assert_eq!(after.permissions(), before.permissions());
    assert_eq!(fs::read_dir(&share.inside).unwrap().count(), 2001);
}
