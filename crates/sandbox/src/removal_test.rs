use std::os::unix::fs::symlink;

use rustix::fs::{Mode, OFlags, mkdirat, openat};

use super::*;

/// Deeper than a path may be long (4096 bytes), and than a process has descriptors by default (1024).
const DEPTH: usize = 5_000;

#[test]
fn folders_go_however_deep_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    fs::create_dir(&top).unwrap();
    // The name that the first one gets which is moved.
    fs::create_dir(top.join("1")).unwrap();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = openat(CWD, &top, flags, Mode::empty()).unwrap();
    for _ in 0..DEPTH {
        mkdirat(&at, "d", Mode::RWXU).unwrap();
        at = openat(&at, "d", flags, Mode::empty()).unwrap();
    }
    remove_if_there(&top).unwrap();
    assert!(!top.exists());
    remove_if_there(&top).unwrap();
}

#[test]
fn folders_that_are_closed_to_their_owner_go_too() {
    let folder = tempfile::tempdir().unwrap();
    let top = folder.path().join("top");
    let inner = top.join("closed/inner/empty");
    fs::create_dir_all(&inner).unwrap();
    fs::write(inner.with_file_name("file"), "").unwrap();
    for path in inner.ancestors().take(3) {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    remove_if_there(&top).unwrap();
    assert!(!top.exists());
}

#[test]
fn what_links_point_at_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (top, beside) = (folder.path().join("top"), folder.path().join("beside"));
    for path in [&beside, &top.join("inner")] {
        fs::create_dir_all(path).unwrap();
    }
    fs::write(beside.join("file"), "kept").unwrap();
    symlink(&beside, top.join("link")).unwrap();
    symlink(&beside, top.join("inner/link")).unwrap();
    remove_if_there(&top).unwrap();
    assert!(!top.exists());
    assert_eq!(fs::read(beside.join("file")).unwrap(), b"kept");
}
