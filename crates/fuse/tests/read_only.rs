//! Threat: a client that changes what it may only read.

use std::fs;

use cenote_fuse::passthrough::Config;
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Opcode, ROOT};
use rustix::io::Errno;

#[test]
fn whatever_changes_something_is_refused() {
    let share = Share::new();
    fs::write(share.inside.join("f"), "data").unwrap();
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            read_only: true,
            ..as_one_user()
        },
    );
    let node = client.lookup(ROOT, "f").unwrap().node;
    let fh = client.open(node, libc::O_RDONLY).unwrap();
    assert_eq!(client.read(fh, 0, 16).unwrap(), b"data");

    for flags in [
        libc::O_WRONLY,
        libc::O_RDWR,
        libc::O_RDONLY | libc::O_TRUNC,
        libc::O_ACCMODE,
    ] {
        assert_eq!(client.open(node, flags), Err(Errno::ROFS));
    }
    let zeros = [0; 88];
    let changes: [(Opcode, &[&[u8]]); 15] = [
        (Opcode::Setattr, &[&zeros]),
        (Opcode::Symlink, &[b"l\0t\0"]),
        (Opcode::Mknod, &[&zeros[..16], b"n\0"]),
        (Opcode::Mkdir, &[&zeros[..8], b"n\0"]),
        (Opcode::Unlink, &[b"f\0"]),
        (Opcode::Rmdir, &[b"f\0"]),
        (Opcode::Rename, &[&1u64.to_ne_bytes(), b"f\0g\0"]),
        (Opcode::Rename2, &[&zeros[..16], b"f\0g\0"]),
        (Opcode::Link, &[&zeros[..8], b"n\0"]),
        (Opcode::Create, &[&zeros[..16], b"n\0"]),
        (Opcode::Tmpfile, &[&zeros[..16], b"/\0"]),
        (Opcode::Setxattr, &[&zeros[..16], b"user.x\0"]),
        (Opcode::Removexattr, &[b"user.x\0"]),
        (Opcode::Fallocate, &[&zeros[..32]]),
        (Opcode::CopyFileRange, &[&zeros[..56]]),
    ];
    for (opcode, parts) in changes {
        assert_eq!(
            client.send(opcode, ROOT, parts),
            Err(Errno::ROFS),
            "{opcode:?}"
        );
    }
    assert_eq!(client.write(fh, 0, b"x"), Err(Errno::ROFS));
    let names: Vec<_> = fs::read_dir(&share.inside).unwrap().collect();
    assert_eq!(names.len(), 1);
    assert_eq!(fs::read_to_string(share.inside.join("f")).unwrap(), "data");
}
