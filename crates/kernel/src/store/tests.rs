use std::fs;

use super::{Error, ModuleRecord, Record, Store};
use crate::module::Group;

fn put(store: &Store, version: &str) {
    let folder = store.folder().join(version);
    fs::create_dir_all(&folder).unwrap();
    let modules = vec![ModuleRecord {
        name: "vsock".to_owned(),
        group: Group::Vsock,
        sha256: "00".to_owned(),
    }];
    let record = Record {
        version: version.to_owned(),
        packages: Vec::new(),
        sha256: "00".to_owned(),
        modules,
        built: None,
    };
    fs::write(
        folder.join("kernel.json"),
        serde_json::to_vec(&record).unwrap(),
    )
    .unwrap();
}

#[test]
fn the_newest_is_chosen_unless_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("kernels"));
    assert!(matches!(store.choose(None), Err(Error::None)));
    for version in [
        "7.3.4+deb13-cloud-amd64",
        "7.10.0+deb13-cloud-amd64",
        "7.9.1+deb13-cloud-amd64",
    ] {
        put(&store, version);
    }
    let versions: Vec<String> = store
        .list()
        .unwrap()
        .into_iter()
        .map(|kernel| kernel.version)
        .collect();
    assert_eq!(
        versions,
        [
            "7.10.0+deb13-cloud-amd64",
            "7.9.1+deb13-cloud-amd64",
            "7.3.4+deb13-cloud-amd64"
        ]
    );
    assert_eq!(store.choose(None).unwrap().version, versions[0]);
    assert_eq!(
        store.choose(Some(&versions[2])).unwrap().version,
        versions[2]
    );
    assert!(matches!(store.choose(Some("8.0")), Err(Error::Unknown(name)) if name == "8.0"));
}

#[test]
fn paths_follow_from_the_record() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    put(&store, "7.3.4");
    let kernel = store.choose(None).unwrap();
    assert_eq!(kernel.vmlinux, folder.path().join("7.3.4/vmlinux"));
    assert_eq!(
        kernel.modules[0].path,
        folder.path().join("7.3.4/modules/00-vsock.ko")
    );
}

#[test]
fn a_removed_kernel_is_gone_and_another_removal_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    put(&store, "7.3.4");
    store.remove("7.3.4").unwrap();
    assert_eq!(store.list().unwrap(), []);
    assert!(matches!(store.remove("7.3.4"), Err(Error::Unknown(_))));
}

#[test]
fn damaged_kernels_are_named_and_removed_and_hide_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    put(&store, "7.3.4");
    put(&store, "7.9.1");
    let path = folder.path().join("7.9.1/kernel.json");
    fs::write(&path, "{").unwrap();
    fs::create_dir(folder.path().join("7.10.0")).unwrap();

    assert_eq!(store.choose(None).unwrap().version, "7.3.4");
    assert_eq!(store.list().unwrap().len(), 1);
    let mut damaged = store.damaged().unwrap();
    damaged.sort_by_key(ToString::to_string);
    let [empty, unreadable] = &damaged[..] else {
        panic!("{damaged:?}")
    };
    assert!(empty.to_string().contains("cenote kernel rm 7.10.0"));
    assert!(matches!(unreadable, Error::Damaged { path: named, .. } if *named == path));
    let refused = store.choose(Some("7.9.1"));
    assert!(matches!(refused, Err(Error::Damaged { name, .. }) if name == "7.9.1"));

    store.remove("7.9.1").unwrap();
    store.remove("7.10.0").unwrap();
    assert!(store.damaged().unwrap().is_empty());
    assert!(!path.exists());
}

#[test]
fn a_damaged_kernel_alone_is_not_taken_for_none() {
    let folder = tempfile::tempdir().unwrap();
    let lender = Store::new(folder.path().join("lender"));
    fs::create_dir_all(lender.folder().join("7.3.4")).unwrap();
    let store = Store::new(folder.path().join("own")).over(lender.folder());
    assert!(matches!(store.choose(None), Err(Error::Damaged { .. })));
    assert!(matches!(store.remove("7.3.4"), Err(Error::Lent(name)) if name == "7.3.4"));
}

#[test]
fn what_a_killed_installation_left_is_not_listed_and_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path());
    put(&store, "7.3.4");
    fs::create_dir_all(folder.path().join(".new-abc/kernel")).unwrap();
    assert_eq!(store.list().unwrap().len(), 1);
    drop(cenote_debian::Lock::take(folder.path()).unwrap());
    assert!(!folder.path().join(".new-abc").exists());
}

#[test]
fn a_lent_kernel_is_listed_once_leaves_its_files_to_this_store_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let lender = Store::new(folder.path().join("lender"));
    put(&lender, "7.3.4");
    put(&lender, "7.9.1");
    let store = Store::new(folder.path().join("own")).over(lender.folder());
    put(&store, "7.3.4");
    let kernels = store.list().unwrap();
    let folders: Vec<_> = kernels.iter().map(|kernel| &kernel.folder).collect();
    assert_eq!(
        folders,
        [
            &lender.folder().join("7.9.1"),
            &store.folder().join("7.3.4")
        ]
    );
    assert!(kernels[0].cache.starts_with(store.folder()));
    assert_eq!(kernels[1].cache, kernels[1].folder);
    assert!(matches!(store.remove("7.9.1"), Err(Error::Lent(version)) if version == "7.9.1"));
    store.remove("7.3.4").unwrap();
    // Now the lent one of the same version shows.
    assert_eq!(store.list().unwrap().len(), 2);
}

#[test]
fn a_kernel_without_a_group_that_is_needed_is_refused_before_it_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("kernels"));
    put(&store, "7.3.4");
    let kernel = store.choose(None).unwrap();
    let refused = kernel.check(&[Group::Vsock, Group::Mmio]).unwrap_err();
    assert!(matches!(
        &refused,
        Error::Lacks { version, group: Group::Mmio } if version == "7.3.4"
    ));
    assert!(refused.to_string().contains("cenote kernel install"));
    // With these it comes to the file, which is not there.
    assert!(matches!(
        kernel.check(&[Group::Vsock]),
        Err(Error::Io { .. })
    ));
}
