use super::*;
use crate::mount::{Mount, Sharing};
use crate::store::tests::{spec, store};

/// A specification that mounts the volume `name`.
fn with_volume(name: &str, anonymous: bool) -> Spec {
    let mut spec = spec("web");
    spec.remove_on_exit = true;
    spec.mounts = vec![Mount {
        target: "/data".to_owned(),
        source: Source::Volume {
            name: name.to_owned(),
            anonymous,
            copy: true,
            sharing: Sharing::default(),
        },
        read_only: false,
        options: String::new(),
    }];
    spec
}

fn listed(volumes: &Volumes) -> Vec<String> {
    let all = volumes.list().unwrap();
    all.into_iter().map(|volume| volume.name).collect()
}

#[test]
fn a_volume_is_made_once_and_found_by_its_name() {
    let (_folder, store) = store();
    let volumes = store.volumes();
    assert!(volumes.list().unwrap().is_empty());
    let labels = BTreeMap::from([("tier".to_owned(), "db".to_owned())]);
    let made = volumes.create("pg", labels).unwrap();
    assert_eq!(volumes.find("pg").unwrap(), made);
    assert!(volumes.data("pg").is_dir() && !made.anonymous);
    assert!(
        matches!(volumes.create("pg", BTreeMap::new()), Err(Error::NameInUse(name)) if name == "pg")
    );
    for bad in ["", "../pg", ".lock", "a/b"] {
        assert!(
            matches!(volumes.find(bad), Err(Error::NotFound(_))),
            "{bad}"
        );
        let refused = volumes.create(bad, BTreeMap::new());
        assert!(
            matches!(refused, Err(Error::Store(store::Error::BadName(_)))),
            "{bad}"
        );
    }
    assert_eq!(listed(&volumes), ["pg"]);
}

#[test]
fn a_sandbox_makes_the_volumes_that_it_names_and_keeps_them_from_being_removed() {
    let (_folder, store) = store();
    let volumes = store.volumes();
    let sandbox = store.create(&with_volume("pg", false)).unwrap();
    fs::write(volumes.data("pg").join("row"), "1").unwrap();
    let error = volumes.remove("pg").unwrap_err();
    assert_eq!(
        error.to_string(),
        "volume pg is being used by web: remove what uses it first (`cenote rm web`)"
    );
    assert_eq!(volumes.prune().unwrap(), [""; 0]);
    sandbox.remove(false).unwrap();
    assert_eq!(listed(&volumes), ["pg"]);
    // Another sandbox finds what the first one wrote.
    let sandbox = store.create(&with_volume("pg", false)).unwrap();
    assert_eq!(fs::read(volumes.data("pg").join("row")).unwrap(), b"1");
    sandbox.remove(false).unwrap();
    volumes.remove("pg").unwrap();
    assert!(matches!(volumes.remove("pg"), Err(Error::NotFound(_))));
    assert!(!volumes.data("pg").exists());
}

#[test]
fn volumes_without_a_name_go_with_their_sandbox() {
    let (_folder, store) = store();
    let volumes = store.volumes();
    let name = anonymous_name();
    let sandbox = store.create(&with_volume(&name, true)).unwrap();
    assert!(volumes.find(&name).unwrap().anonymous);
    sandbox.remove(false).unwrap();
    assert!(volumes.list().unwrap().is_empty());
}

#[test]
fn what_was_left_half_removed_is_cleared() {
    let (_folder, store) = store();
    let volumes = store.volumes();
    volumes.create("kept", BTreeMap::new()).unwrap();
    for half in [".new-a", ".gone-b"] {
        fs::create_dir_all(volumes.folder().join(half).join("_data")).unwrap();
    }
    assert_eq!(volumes.prune().unwrap(), ["kept"]);
    assert!(fs::read_dir(volumes.folder()).unwrap().next().is_none());
}

#[test]
fn an_empty_volume_is_filled_by_one_at_a_time() {
    let (_folder, store) = store();
    let volumes = store.volumes();
    volumes.create("new", BTreeMap::new()).unwrap();
    let filling = volumes.fill("new").unwrap().unwrap();
    let (begun, begins) = std::sync::mpsc::channel();
    let waiting = {
        let volumes = volumes.clone();
        std::thread::spawn(move || {
            begun.send(()).unwrap();
            volumes.fill("new").unwrap().is_none()
        })
    };
    begins.recv().unwrap();
    fs::write(volumes.data("new").join("file"), "").unwrap();
    drop(filling);
    assert!(waiting.join().unwrap(), "it was filled twice");
    assert!(matches!(volumes.fill("missing"), Err(Error::NotFound(_))));
}
