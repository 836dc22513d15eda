//! Threat: a name that leads out of the directory.

use cenote_fuse::testing::Share;
use cenote_fuse::wire::{LinkIn, Opcode, ROOT, Rename2In};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

const WAYS: [&[u8]; 7] = [
    b"..\0",
    b".\0",
    b"../outside\0",
    b"../outside/secret\0",
    b"d/../../outside/secret\0",
    b"/etc/passwd\0",
    b"\0",
];

#[test]
fn no_operation_takes_a_way_for_a_name() {
    let share = Share::new();
    std::fs::create_dir(share.inside.join("d")).unwrap();
    std::fs::write(share.inside.join("file"), "").unwrap();
    let mut client = share.client();
    let d = client.lookup(ROOT, "d").unwrap().node;
    let file = client.lookup(ROOT, "file").unwrap().node;
    for way in WAYS {
        for opcode in [Opcode::Lookup, Opcode::Unlink, Opcode::Rmdir] {
            assert_eq!(client.send(opcode, d, &[way]), Err(Errno::INVAL));
        }
        for opcode in [Opcode::Mkdir, Opcode::Mknod, Opcode::Create] {
            let arguments: &[u8] = if opcode == Opcode::Mkdir {
                &[0; 8]
            } else {
                &[0; 16]
            };
            assert_eq!(client.send(opcode, d, &[arguments, way]), Err(Errno::INVAL));
        }
        assert_eq!(
            client.send(Opcode::Symlink, d, &[way, b"target\0"]),
            Err(Errno::INVAL)
        );
        let link = LinkIn { oldnode: file };
        assert_eq!(
            client.send(Opcode::Link, d, &[link.as_bytes(), way]),
            Err(Errno::INVAL)
        );
        let mut rename = Rename2In::new_zeroed();
        rename.newdir = d;
        for names in [[way, b"new\0"], [b"file\0", way]] {
            let parts = [rename.as_bytes(), names[0], names[1]];
            assert_eq!(
                client.send(Opcode::Rename2, ROOT, &parts),
                Err(Errno::INVAL)
            );
        }
    }
    share.assert_outside_untouched();
}

#[test]
fn a_name_may_be_as_long_as_the_file_system_has_it() {
    let share = Share::new();
    let mut client = share.client();
    assert!(client.mkdir(ROOT, &"x".repeat(255)).is_ok());
    assert_eq!(
        client.mkdir(ROOT, &"x".repeat(256)).unwrap_err(),
        Errno::NAMETOOLONG
    );
}

#[test]
fn what_is_above_the_directory_is_not_told() {
    let share = Share::new();
    let mut client = share.client();
    let fh = client.opendir(ROOT).unwrap();
    let names = client.readdir(ROOT, fh, 0, 4096).unwrap();
    assert!(names.iter().any(|(name, _)| name == ".."));
    assert_eq!(client.lookup(ROOT, "..").unwrap_err(), Errno::INVAL);
}
