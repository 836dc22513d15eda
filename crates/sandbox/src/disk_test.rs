use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use super::{DISKS, Error, Paths, make};

fn paths(folder: &Path) -> Paths {
    Paths {
        data: folder.join("data"),
        runtime: folder.join("run"),
        outer: None,
    }
}

#[test]
fn an_empty_disk_is_sound_sparse_and_made_again_from_its_template() {
    let folder = tempfile::tempdir().unwrap();
    let paths = paths(folder.path());
    for name in ["a", "b"] {
        let disk = folder.path().join(name);
        make(&paths, &disk, 1 << 30).unwrap();
        let metadata = fs::metadata(&disk).unwrap();
        assert_eq!(metadata.len(), 1 << 30);
        assert!(
            metadata.blocks() * 512 < 16 << 20,
            "{} blocks",
            metadata.blocks()
        );
        let check = Command::new("/sbin/e2fsck")
            .arg("-fn")
            .arg(&disk)
            .output()
            .unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
    }
    assert_eq!(fs::read_dir(paths.disks()).unwrap().count(), 1);
}

#[test]
fn a_size_that_ext4_cannot_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for size in [0, 1 << 20, u64::MAX] {
        let refused = make(&paths(folder.path()), &folder.path().join("disk"), size);
        assert!(matches!(refused, Err(Error::Size(given)) if given == size));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_lent_disk_is_copied_also_from_another_file_system_and_none_is_formatted() {
    let folder = tempfile::tempdir().unwrap();
    let lender = tempfile::tempdir_in("/dev/shm").unwrap();
    fs::create_dir(lender.path().join(DISKS)).unwrap();
    let content = [vec![1; 8192], vec![0; 1 << 20], vec![2; 4096]].concat();
    let size = 16 << 20;
    let template = lender.path().join(DISKS).join(format!("ext4-{size}"));
    fs::write(&template, &content).unwrap();
    let paths = Paths {
        outer: Some(lender.path().to_owned()),
        ..paths(folder.path())
    };
    make(&paths, &folder.path().join("disk"), size).unwrap();
    assert!(fs::read(folder.path().join("disk")).unwrap() == content);
    assert!(!paths.disks().exists());
}
