use std::os::unix::fs::DirBuilderExt;

use super::*;

#[test]
fn a_tree_is_copied_with_everything_that_makes_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("image"), folder.path().join("volume"));
    fs::DirBuilder::new().mode(0o750).create(&from).unwrap();
    fs::create_dir(&to).unwrap();
    fs::create_dir(from.join("inner")).unwrap();
    fs::write(from.join("inner/file"), "content").unwrap();
    fs::set_permissions(from.join("inner/file"), fs::Permissions::from_mode(0o4711)).unwrap();
    fs::hard_link(from.join("inner/file"), from.join("second")).unwrap();
    symlink("nowhere", from.join("link")).unwrap();
    mknodat(CWD, from.join("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let old = Timespec {
        tv_sec: 1000,
        tv_nsec: 5,
    };
    let times = Timestamps {
        last_access: old,
        last_modification: old,
    };
    utimensat(CWD, from.join("inner"), &times, AtFlags::empty()).unwrap();

    fill(&from, &to, None).unwrap();

    let file = fs::metadata(to.join("inner/file")).unwrap();
    assert_eq!(fs::read(to.join("second")).unwrap(), b"content");
    assert_eq!((file.mode() & 0o7777, file.nlink()), (0o4711, 2));
    assert_eq!(file.ino(), fs::metadata(to.join("second")).unwrap().ino());
    assert_eq!(
        fs::read_link(to.join("link")).unwrap(),
        Path::new("nowhere")
    );
    let pipe = fs::symlink_metadata(to.join("pipe")).unwrap();
    assert!(pipe.file_type().is_fifo());
    assert_eq!(fs::metadata(&to).unwrap().mode() & 0o7777, 0o750);
    let inner = fs::metadata(to.join("inner")).unwrap();
    assert_eq!((inner.mtime(), inner.mtime_nsec()), (1000, 5));
}

#[test]
fn what_is_not_empty_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("image"), folder.path().join("volume"));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    fs::write(from.join("new"), "").unwrap();
    fs::write(to.join("mine"), "").unwrap();
    fill(&from, &to, None).unwrap();
    let names: Vec<_> = fs::read_dir(&to)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["mine"]);
    // Nothing in the image, or no directory.
    fs::remove_file(to.join("mine")).unwrap();
    fill(&from.join("missing"), &to, None).unwrap();
    fill(&from.join("new"), &to, None).unwrap();
    assert!(fs::read_dir(&to).unwrap().next().is_none());
}

#[test]
fn a_copy_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("image"), folder.path().join("volume"));
    fs::create_dir_all(from.join("inner")).unwrap();
    fs::write(from.join("inner/file"), "content").unwrap();
    fs::create_dir(&to).unwrap();
    let found = fs::metadata(&from).unwrap();
    fs::create_dir(to.join("inner")).unwrap();
    // A directory is in the way of one that is copied.
    assert!(copy_tree(&from, &found, &to).is_err());
    empty(&to);
    assert!(fs::read_dir(&to).unwrap().next().is_none());
}
