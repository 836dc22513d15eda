use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{Error, make};

#[test]
fn an_empty_disk_is_sound_sparse_and_made_again_from_its_template() {
    let folder = tempfile::tempdir().unwrap();
    let templates = folder.path().join("disks");
    for name in ["a", "b"] {
        let disk = folder.path().join(name);
        make(&templates, &disk, 1 << 30).unwrap();
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
    assert_eq!(fs::read_dir(&templates).unwrap().count(), 1);
}

#[test]
fn a_size_that_ext4_cannot_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for size in [0, 1 << 20, u64::MAX] {
        let refused = make(folder.path(), &folder.path().join("disk"), size);
        assert!(matches!(refused, Err(Error::Size(given)) if given == size));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
