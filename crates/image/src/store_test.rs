use super::*;
use crate::import::ImportOptions;

/// Debian's package busybox-static.
const BUSYBOX: &str = "/bin/busybox";

struct Fixture {
    folder: tempfile::TempDir,
    store: Store,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("images")).unwrap();
    Fixture { folder, store }
}

/// The archive of a root with one file.
fn archive(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

impl Fixture {
    fn import(&self, name: &str, content: &[u8]) -> Image {
        let reference = name.parse().unwrap();
        let options = ImportOptions::default();
        self.store
            .import(&archive("file", content)[..], &reference, &options)
            .unwrap()
    }

    fn files(&self, folder: &str) -> usize {
        fs::read_dir(self.store.folder().join(folder))
            .unwrap()
            .count()
    }

    /// Nothing was left behind.
    fn assert_empty(&self) {
        for folder in FOLDERS {
            assert_eq!(self.files(folder), 0, "{folder}");
        }
    }
}

#[test]
fn a_base_image_is_found_by_its_short_name_and_is_the_same_each_time() {
    let Fixture { store, .. } = &fixture();
    let name = Reference::local("busybox").unwrap();
    let built = store
        .build_base(Path::new(BUSYBOX), &name)
        .expect("busybox-static is installed");
    let found = store.resolve("busybox").unwrap();
    assert_eq!(found.id, built.id);
    assert_eq!(found.references, std::slice::from_ref(&name));
    assert_eq!(found.layers.len(), 1);
    assert_eq!(
        found.config.config().as_ref().unwrap().cmd().as_deref(),
        Some(&["sh".to_owned()][..])
    );
    assert_eq!(
        store.build_base(Path::new(BUSYBOX), &name).unwrap().digest,
        built.digest
    );
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn an_image_is_found_by_name_id_and_digest() {
    let fixture = fixture();
    let image = fixture.import("quay.io/a/b:1", b"one");
    let other = fixture.import("localhost/b:2", b"two");
    let find = |name: &str| fixture.store.resolve(name).map(|image| image.id);
    assert_eq!(find("quay.io/a/b:1").unwrap(), image.id);
    assert_eq!(
        find(&format!("quay.io/a/b@{}", image.digest)).unwrap(),
        image.id
    );
    assert_eq!(find("b:2").unwrap(), other.id);
    assert_eq!(find(&image.id.to_string()).unwrap(), image.id);
    assert_eq!(find(&image.id.hex()[..12]).unwrap(), image.id);
    assert!(matches!(find("b:1"), Err(Error::NotFound { .. })));
    assert!(matches!(find("Not A Name"), Err(Error::Reference(_))));
}

#[test]
fn a_name_moves_to_the_new_image_and_the_old_one_is_pruned() {
    let fixture = fixture();
    let old = fixture.import("localhost/a", b"old");
    let new = fixture.import("localhost/a", b"new");
    assert_eq!(fixture.store.resolve("a").unwrap().id, new.id);
    assert!(
        fixture
            .store
            .resolve(&old.id.hex())
            .unwrap()
            .references
            .is_empty()
    );
    assert_eq!(fixture.store.prune().unwrap().deleted, [old.id]);
    assert!(!old.layers[0].exists() && !old.meta.exists());
    assert!(new.layers[0].exists() && new.meta.exists());
}

#[test]
fn a_lease_holds_the_files_of_a_removed_image() {
    let fixture = fixture();
    let image = fixture.import("localhost/a", b"held");
    let lease = fixture.store.lease(&image).unwrap();
    assert!(matches!(
        fixture.store.remove("a", false),
        Err(Error::InUse { .. })
    ));
    assert_eq!(fixture.store.remove("a", true).unwrap().deleted, [image.id]);
    assert!(fixture.store.resolve("a").is_err());
    assert!(image.layers[0].exists() && image.meta.exists());
    drop(lease);
    assert!(fixture.store.prune().unwrap().freed > 0);
    assert!(!image.layers[0].exists() && !image.meta.exists());
    assert!(matches!(
        fixture.store.lease(&image),
        Err(Error::Gone { .. })
    ));
}

#[test]
fn an_image_goes_with_its_last_name() {
    let fixture = fixture();
    let image = fixture.import("localhost/a", b"one");
    fixture.import("localhost/b", b"one");
    assert!(matches!(
        fixture.store.remove(&image.id.hex(), false),
        Err(Error::ManyNames { count: 2, .. })
    ));
    assert!(fixture.store.remove("a", false).unwrap().deleted.is_empty());
    assert_eq!(
        fixture.store.remove("b", false).unwrap().deleted,
        [image.id]
    );
    fixture.assert_empty();
}

#[test]
fn what_a_dead_process_left_is_cleared_when_the_store_is_opened() {
    let fixture = fixture();
    let folder = fixture.store.folder();
    fs::create_dir(folder.join("tmp/dead")).unwrap();
    fs::write(folder.join("tmp/dead/layer"), b"half").unwrap();
    fs::write(folder.join("leases/dead"), b"not even JSON").unwrap();
    let living = fixture.store.workspace().unwrap();
    Store::open(folder).unwrap();
    assert_eq!(fixture.files("leases"), 0);
    assert_eq!(fixture.files("tmp"), 1);
    assert!(living.path().exists());
}

#[test]
fn a_newer_format_is_refused() {
    let fixture = fixture();
    let folder = fixture.folder.path().join("images");
    fs::write(folder.join("format"), "2\n").unwrap();
    assert!(matches!(
        Store::open(&folder),
        Err(Error::NewerFormat {
            found: 2,
            known: 1,
            ..
        })
    ));
    fs::write(folder.join("format"), "one\n").unwrap();
    assert!(matches!(Store::open(&folder), Err(Error::Damaged { .. })));
}

#[test]
fn a_failed_import_leaves_nothing() {
    let fixture = fixture();
    let whole = archive("file", &[7; 5000]);
    let name = Reference::local("a").unwrap();
    for cut in [0, 100, 512, 2000, 5632, 6144] {
        let failed = fixture
            .store
            .import(&whole[..cut], &name, &ImportOptions::default());
        assert!(matches!(failed, Err(Error::Import(_))), "{cut}: {failed:?}");
    }
    fixture.assert_empty();
}

#[test]
fn a_damaged_image_hides_no_other_and_can_be_removed_or_made_whole() {
    let fixture = fixture();
    let image = fixture.import("localhost/a", b"one");
    let other = fixture.import("localhost/b", b"two");
    let config = fixture.store.config_path(&image.id);
    fs::write(&config, b"{").unwrap();
    assert!(matches!(
        fixture.store.resolve("a"),
        Err(Error::Manifest(_))
    ));
    assert_eq!(fixture.store.list().unwrap().len(), 1);
    fixture.import("localhost/a", b"one");
    assert_eq!(fixture.store.resolve("a").unwrap().id, image.id);
    fs::remove_file(&config).unwrap();
    assert!(matches!(
        fixture.store.resolve("a"),
        Err(Error::Damaged { .. })
    ));
    assert_eq!(
        fixture.store.remove("a", false).unwrap().untagged,
        image.references
    );
    assert!(!image.layers[0].exists() && other.layers[0].exists());
    assert!(matches!(
        fixture.store.resolve("a"),
        Err(Error::NotFound { .. })
    ));
}

/// A store as a machine inside sees it: what `store` lends of `images`, put into a folder.
fn lent(fixture: &Fixture, images: &[Image]) -> PathBuf {
    let folder = fixture.folder.path().join("lent");
    let lent = fixture.store.lend(images).unwrap();
    let put = |name: &Path| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    };
    for (name, content) in &lent.documents {
        fs::write(put(name), content).unwrap();
    }
    for (name, file) in &lent.files {
        std::os::unix::fs::symlink(file, put(name)).unwrap();
    }
    folder
}

#[test]
fn lent_images_are_found_beside_the_own_ones_and_cannot_be_removed() {
    let outer = fixture();
    let image = outer.import("localhost/one:1", b"one");
    outer.import("localhost/secret:1", b"two");
    let folder = lent(&outer, std::slice::from_ref(&image));
    let mut inner = fixture();
    inner.store = inner.store.over(&folder);

    let own = inner.import("localhost/own:1", b"own");
    let names: Vec<_> = inner.store.list().unwrap();
    assert_eq!(
        names.iter().map(|image| image.id).collect::<Vec<_>>(),
        [image.id, own.id]
    );
    let found = inner.store.resolve("one:1").unwrap();
    assert!(found.meta.starts_with(&folder) && found.layers[0].starts_with(&folder));
    drop(inner.store.lease(&found).unwrap());
    assert!(matches!(
        inner.store.remove("one:1", true),
        Err(Error::Lent { id }) if id == image.id
    ));
    inner.store.prune().unwrap();
    assert!(inner.store.resolve("one:1").is_ok());
}

#[test]
fn a_layer_that_is_lent_is_not_made_again_and_a_lent_image_can_be_lent_on() {
    let outer = fixture();
    let image = outer.import("localhost/one:1", b"one");
    let folder = lent(&outer, &[image]);
    let mut inner = fixture();
    inner.store = inner.store.over(&folder);

    let same = inner.import("localhost/two:2", b"one");
    assert_eq!(inner.files("layers"), 0);
    assert!(same.layers[0].starts_with(&folder));
    // Only the name is this store's own, and only that goes.
    inner.store.remove("two:2", false).unwrap();
    let again = inner.store.resolve("one:1").unwrap();
    let lent_on = inner.store.lend(&[again]).unwrap();
    assert_eq!(
        lent_on,
        outer
            .store
            .lend(&outer.store.list().unwrap())
            .map(|lent| Lent {
                files: lent
                    .files
                    .iter()
                    .map(|(name, _)| (name.clone(), folder.join(name)))
                    .collect(),
                ..lent
            })
            .unwrap()
    );
}

#[test]
fn a_lent_store_of_another_format_is_left_aside() {
    let outer = fixture();
    let image = outer.import("localhost/one:1", b"one");
    let folder = lent(&outer, &[image]);
    fs::write(folder.join("format"), "2\n").unwrap();
    let inner = fixture();
    assert!(inner.store.over(&folder).list().unwrap().is_empty());
}
