use cenote_protocol::{Capabilities, ProcessSpec};

use super::{Error, Store};
use crate::paths::Paths;
use crate::spec::{Image, Network, Resources, Spec};
use crate::state::State;

/// A store in a folder of its own.
pub(crate) fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let paths = Paths {
        data: folder.path().join("data"),
        runtime: folder.path().join("run"),
        outer: None,
    };
    let store = Store::open(&paths).unwrap();
    (folder, store)
}

pub(crate) fn spec(name: &str) -> Spec {
    Spec {
        name: name.to_owned(),
        image: Image {
            reference: "localhost/busybox:latest".to_owned(),
            id: "sha256:0".to_owned(),
        },
        process: ProcessSpec {
            args: vec!["true".to_owned()],
            env: Vec::new(),
            cwd: "/".to_owned(),
            create_cwd: false,
            user: String::new(),
            terminal: None,
            stdin: false,
            capabilities: Capabilities::DEFAULT,
            rlimits: Vec::new(),
            no_new_privileges: false,
            init: false,
        },
        hostname: None,
        resources: Resources::default(),
        read_only: false,
        dax: true,
        mounts: Vec::new(),
        share_transport: None,
        network: Network::None,
        remove_on_exit: false,
        labels: Default::default(),
        stop_signal: 15,
        stop_timeout: 10,
        kernel: None,
        vmm: Default::default(),
        accel: Default::default(),
        nested: None,
    }
}

#[test]
fn a_sandbox_is_found_by_name_id_and_the_beginning_of_its_id() {
    let (_folder, store) = store();
    let made = store.create(&spec("web")).unwrap();
    for name in ["web", made.id(), made.short_id(), &made.id()[..3]] {
        assert_eq!(store.find(name).unwrap().id(), made.id(), "{name}");
    }
    assert_eq!(made.state(), State::Created);
    assert!(matches!(store.find("web2"), Err(Error::NotFound(name)) if name == "web2"));
    assert!(matches!(store.find(""), Err(Error::NotFound(_))));
}

#[test]
fn a_name_is_given_once_until_its_sandbox_is_removed() {
    let (_folder, store) = store();
    let made = store.create(&spec("db")).unwrap();
    assert!(
        matches!(store.create(&spec("db")), Err(Error::NameInUse { id, .. }) if id == made.short_id())
    );
    made.remove(false).unwrap();
    assert_eq!(store.list().unwrap().len(), 0);
    store.create(&spec("db")).unwrap();
}

#[test]
fn a_name_that_is_no_name_is_refused_before_anything_is_made() {
    let (folder, store) = store();
    for name in ["", "-x", ".hidden", "a/b", "a b", "ü", &"x".repeat(64)] {
        assert!(matches!(store.create(&spec(name)), Err(Error::BadName(given)) if given == name));
    }
    let left = std::fs::read_dir(folder.path().join("data/sandboxes"))
        .unwrap()
        .count();
    assert_eq!(left, 0);
}

#[test]
fn an_ambiguous_beginning_is_told() {
    let (_folder, store) = store();
    // 17 ids have 16 possible first digits.
    let made: Vec<_> = (0..17)
        .map(|number| store.create(&spec(&format!("s{number}"))).unwrap())
        .collect();
    let first = |sandbox: &crate::Sandbox| sandbox.id()[..1].to_owned();
    let shared = made
        .iter()
        .map(first)
        .find(|digit| made.iter().filter(|other| first(other) == *digit).count() > 1);
    assert!(matches!(
        store.find(&shared.unwrap()),
        Err(Error::Ambiguous(_))
    ));
}

#[test]
fn a_broken_specification_hides_one_sandbox_and_no_other() {
    let (folder, store) = store();
    let broken = store.create(&spec("broken")).unwrap();
    store.create(&spec("whole")).unwrap();
    std::fs::write(
        folder
            .path()
            .join("data/sandboxes")
            .join(broken.id())
            .join("spec.json"),
        "{",
    )
    .unwrap();
    let names: Vec<_> = store
        .list()
        .unwrap()
        .iter()
        .map(|sandbox| sandbox.spec().name.clone())
        .collect();
    assert_eq!(names, ["whole"]);
}

#[test]
fn what_killed_processes_left_half_made_or_half_removed_is_cleared() {
    let (folder, store) = store();
    let sandboxes = folder.path().join("data/sandboxes");
    for half in [".new-1", ".gone-2"] {
        std::fs::create_dir(sandboxes.join(half)).unwrap();
        std::fs::write(sandboxes.join(half).join("disk.raw"), "x").unwrap();
    }
    let made = store.create(&spec("next")).unwrap();
    let mut left: Vec<_> = std::fs::read_dir(sandboxes)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, [".lock", made.id()]);
}
