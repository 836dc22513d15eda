//! Threat: opening a device or a pipe does something to the host, or never returns.

use cenote_fuse::testing::Share;
use cenote_fuse::wire::{MknodIn, Opcode, ROOT};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

#[test]
fn nothing_but_regular_files_is_opened() {
    let share = Share::new();
    for (name, kind) in [("pipe", FileType::Fifo), ("socket", FileType::Socket)] {
        rustix::fs::mknodat(CWD, share.inside.join(name), kind, Mode::RUSR, 0).unwrap();
    }
    let mut client = share.client();
    for name in ["pipe", "socket"] {
        let node = client.lookup(ROOT, name).unwrap().node;
        for flags in [libc::O_RDONLY, libc::O_WRONLY, libc::O_RDWR | libc::O_TRUNC] {
            assert_eq!(client.open(node, flags), Err(Errno::NXIO), "{name}");
        }
        let flags = libc::O_RDONLY | libc::O_CREAT;
        assert_eq!(client.create(ROOT, name, flags).unwrap_err(), Errno::NXIO);
        assert_eq!(client.opendir(node), Err(Errno::NOTDIR));
    }
    assert_eq!(client.open(ROOT, libc::O_RDONLY), Err(Errno::ISDIR));
    assert_eq!(client.server.directory().known().1, 0);
}

#[test]
fn a_pipe_can_be_made_for_the_clients_own_use() {
    let share = Share::new();
    let mut client = share.client();
    let mut arguments = MknodIn::new_zeroed();
    arguments.mode = libc::S_IFIFO | 0o600;
    client
        .send(Opcode::Mknod, ROOT, &[arguments.as_bytes(), b"pipe\0"])
        .unwrap();
    let made = rustix::fs::lstat(share.inside.join("pipe")).unwrap();
    assert_eq!(FileType::from_raw_mode(made.st_mode), FileType::Fifo);
}
