use std::fs;
use std::path::Path;

use super::{Init, build, initramfs};
use crate::module::Group;
use crate::store::{Kernel, Module};

fn kernel(folder: &Path) -> Kernel {
    let modules = [
        ("vsock", Group::Vsock),
        ("erofs", Group::Root),
        ("virtio_blk", Group::Disk),
    ]
    .map(|(name, group)| {
        let path = folder.join(format!("{name}.ko"));
        fs::write(&path, name).unwrap();
        Module {
            name: name.to_owned(),
            group,
            path,
            sha256: format!("digest of {name}"),
        }
    });
    Kernel {
        version: "7.3".to_owned(),
        packages: Vec::new(),
        folder: folder.to_owned(),
        vmlinux: folder.join("vmlinux"),
        sha256: String::new(),
        modules: modules.to_vec(),
        cache: folder.to_owned(),
        built: None,
    }
}

fn init(program: &str) -> Init<'_> {
    Init {
        program: program.as_bytes(),
        digest: program,
    }
}

#[test]
fn modules_are_listed_in_order_with_a_mark_after_those_that_reach_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel(folder.path());
    let modules: Vec<&Module> = kernel.modules.iter().collect();
    let archive = build(b"agent", &modules).unwrap();
    let expected =
        "/lib/modules/00-vsock.ko\n--\n/lib/modules/01-erofs.ko\n/lib/modules/02-virtio_blk.ko\n";
    assert!(String::from_utf8_lossy(&archive).contains(expected));
}

#[test]
fn the_same_input_gives_the_same_file_and_another_input_another() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel(folder.path());
    let first = initramfs(&kernel, init("agent"), &[Group::Vsock, Group::Root]).unwrap();
    let written = fs::metadata(&first).unwrap().modified().unwrap();
    assert_eq!(
        initramfs(&kernel, init("agent"), &[Group::Vsock, Group::Root]).unwrap(),
        first
    );
    assert_eq!(fs::metadata(&first).unwrap().modified().unwrap(), written);
    assert_ne!(
        initramfs(&kernel, init("other"), &[Group::Vsock, Group::Root]).unwrap(),
        first
    );
    assert_ne!(
        initramfs(&kernel, init("agent"), &[Group::Vsock]).unwrap(),
        first
    );
}

#[test]
fn only_the_groups_asked_for_are_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = initramfs(&kernel(folder.path()), init("agent"), &[Group::Vsock]).unwrap();
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    assert!(text.contains("00-vsock.ko") && !text.contains("erofs"));
}

#[test]
fn a_missing_module_is_named_and_no_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let kernel = kernel(folder.path());
    fs::remove_file(&kernel.modules[1].path).unwrap();
    let error = initramfs(&kernel, init("agent"), &Group::ALL).unwrap_err();
    assert!(error.to_string().ends_with("erofs.ko"), "{error}");
    let left = fs::read_dir(folder.path()).unwrap().filter(|entry| {
        entry
            .as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .contains("initramfs")
    });
    assert_eq!(left.count(), 0);
}
