//! Building a kernel with tools that only pretend.

#[path = "../../debian/tests/repository/mod.rs"]
mod repository;
mod toolchain;

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use cenote_debian::Source;
use cenote_debian::source::Archive;
use cenote_kernel::build::{Build, Error, Progress};
use cenote_kernel::{Kernel, Store};
use repository::{Repository, package};
use tempfile::TempDir;
use toolchain::{Tools, source, source_package, vmlinux};

const VERSION: &str = "7.3.4-1~bpo13+1";

/// A store, pretended tools and a source, for one test.
struct Place {
    folder: TempDir,
    store: Store,
    source: Source,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tools")).unwrap();
        let source = Source::Files(vec![source(folder.path(), VERSION)]);
        let store = Store::new(folder.path().join("kernels"));
        let place = Self {
            folder,
            store,
            source,
        };
        Tools::new(&place.tools(), &vmlinux());
        place
    }

    fn tools(&self) -> std::path::PathBuf {
        self.folder.path().join("tools")
    }

    fn build(&self, keep: bool) -> Result<Kernel, Error> {
        self.build_from(&self.source, keep, &Silent)
    }

    fn build_from(
        &self,
        source: &Source,
        keep: bool,
        progress: &dyn Progress,
    ) -> Result<Kernel, Error> {
        let folder = self.tools();
        let tools = Tools { folder: &folder };
        Build {
            store: &self.store,
            source,
            path: &tools.path(),
            keep,
        }
        .run(progress)
    }

    fn compiled(&self) -> Vec<String> {
        let folder = self.tools();
        Tools { folder: &folder }.compiled()
    }

    fn tool_file(&self, name: &str, text: &str) {
        fs::write(self.tools().join(name), text).unwrap();
    }

    /// What the builds' folder holds besides its lock.
    fn left(&self) -> usize {
        entries(&self.store.folder().join(".build")).len()
    }
}

struct Silent;

impl Progress for Silent {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn step(&self, _: &str) {}
    fn notice(&self, _: &str) {}
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Progress for Heard {
    fn stage(&self, text: &str, _: Option<u64>) {
        self.0.lock().unwrap().push(text.to_owned());
    }
    fn step(&self, line: &str) {
        self.0.lock().unwrap().push(line.to_owned());
    }
    fn notice(&self, _: &str) {}
}

fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

#[test]
fn a_kernel_is_built_once_and_nothing_else_stays() {
    let place = Place::new();
    let kernel = place.build(false).unwrap();
    assert!(kernel.version.starts_with("7.3.4-cenote-"), "{kernel:?}");
    assert_eq!(kernel.packages, [format!("linux-source-7.3={VERSION}")]);
    assert_eq!(fs::read(&kernel.vmlinux).unwrap(), vmlinux());
    assert_eq!(kernel.modules, []);
    let built = kernel.built.as_ref().unwrap();
    assert!(kernel.version.ends_with(&built.inputs[..12]));
    assert_eq!(built.compiler, "gcc 1.0\nld 1.0");
    assert_eq!(place.left(), 0);
    assert_eq!(place.build(false).unwrap(), kernel);
    assert_eq!(place.compiled(), ["one", "two", "three"]);
}

#[test]
fn the_newest_source_of_the_archive_is_taken_and_its_signature_counts() {
    let place = Place::new();
    let repository = Repository::new("trixie-backports", &[source_package(VERSION)]);
    let archive = Source::Archive(Archive {
        mirror: Some(repository.mirror()),
        keyring: Some(repository.keyring()),
    });
    let heard = Heard::default();
    let kernel = place.build_from(&archive, false, &heard).unwrap();
    let heard = heard.0.into_inner().unwrap();
    assert!(
        heard.iter().any(|line| line == "  CC      two.o"),
        "{heard:?}"
    );
    assert!(
        heard
            .iter()
            .any(|line| line.starts_with("fetching linux-source-7.3="))
    );
    // The same inputs from elsewhere are the same kernel.
    assert_eq!(place.build(false).unwrap(), kernel);
    let release = fs::read_to_string(repository.release()).unwrap();
    fs::write(repository.release(), release.replacen("Test", "Fake", 1)).unwrap();
    let error = place.build_from(&archive, false, &Silent).unwrap_err();
    assert!(matches!(error, Error::Archive(_)), "{error}");
}

#[test]
fn a_failed_build_names_its_log_and_the_next_one_goes_on() {
    let place = Place::new();
    place.tool_file("answer", "fail\n");
    let error = place.build(false).unwrap_err();
    let Error::Failed { log, tail, .. } = &error else {
        panic!("{error}");
    };
    assert!(tail.ends_with("two.c:1: error: no such thing"), "{tail}");
    assert!(fs::read_to_string(log).unwrap().contains("no such thing"));
    assert!(error.to_string().contains(log.to_str().unwrap()), "{error}");
    assert_eq!(place.store.list().unwrap(), []);
    place.tool_file("answer", "\n");
    place.build(false).unwrap();
    assert_eq!(place.compiled(), ["one", "two", "two", "three"]);
    assert_eq!(place.left(), 0);
}

#[test]
fn symbols_that_the_source_does_not_take_are_named_before_anything_is_compiled() {
    let place = Place::new();
    place.tool_file("dropped", "CONFIG_EROFS_FS=\nCONFIG_HZ_100=\n");
    let error = place.build(false).unwrap_err();
    let Error::Unmet(unmet) = &error else {
        panic!("{error}");
    };
    let symbols: Vec<&str> = unmet.iter().map(|unmet| unmet.symbol.as_str()).collect();
    assert_eq!(symbols, ["CONFIG_EROFS_FS", "CONFIG_HZ_100"]);
    assert!(
        error
            .to_string()
            .contains("CONFIG_EROFS_FS=y in config/common/")
    );
    assert_eq!(place.compiled(), [] as [&str; 0]);
}

#[test]
fn kept_objects_are_used_by_the_next_build() {
    let place = Place::new();
    let kernel = place.build(true).unwrap();
    assert_eq!(place.left(), 1);
    place.store.remove(&kernel.version).unwrap();
    place.build(false).unwrap();
    assert_eq!(place.compiled(), ["one", "two", "three"]);
}

#[test]
fn the_tree_of_another_source_goes() {
    let place = Place::new();
    place.build(true).unwrap();
    let newer = Source::Files(vec![source(place.folder.path(), "7.3.5-1~bpo13+1")]);
    let kernel = place.build_from(&newer, true, &Silent).unwrap();
    assert!(kernel.version.starts_with("7.3.5-cenote-"));
    assert_eq!(place.left(), 1);
    // Both kernels are there, the last built first, whatever the order of their names.
    let versions: Vec<_> = place.store.list().unwrap();
    assert_eq!(versions.len(), 2);
}

#[test]
fn a_kernel_that_cannot_be_started_is_not_stored() {
    let place = Place::new();
    place.tool_file("kernel", "no kernel");
    let error = place.build(false).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    assert_eq!(place.store.list().unwrap(), []);
}

#[test]
fn other_packages_are_refused() {
    let place = Place::new();
    let refused = |package: repository::Package| {
        let path = place.folder.path().join("other.deb");
        fs::write(&path, repository::deb(&package)).unwrap();
        let error = place.build_from(&Source::Files(vec![path]), false, &Silent);
        error.unwrap_err().to_string()
    };
    let package = |name| repository::Package {
        name,
        ..source_package(VERSION)
    };
    assert!(refused(package("linux-doc-7.3")).contains("linux-doc-7.3 is no Linux source"));
    assert!(refused(package("linux-source-7.2")).contains("7.2 is too old"));
    assert!(refused(package("linux-source-7.4")).contains("holds no source"));
    let none = place.build_from(&Source::Files(Vec::new()), false, &Silent);
    assert!(matches!(none, Err(Error::OneFile(0))));
}
