use std::cell::RefCell;
use std::fs;

use cenote_debian::{Lock, Source};

use super::{Log, Package, Toolchain};
use crate::build::{Error, File, Progress};
use toolchain::{Tools, source, vmlinux};

#[path = "../../../debian/tests/repository/package.rs"]
mod package;
#[path = "../../tests/toolchain/mod.rs"]
mod toolchain;

/// What is noticed.
#[derive(Default)]
struct Said(RefCell<Vec<String>>);

impl Progress for Said {
    fn stage(&self, _: &str, _: Option<u64>) {}
    fn step(&self, _: &str) {}
    fn notice(&self, text: &str) {
        self.0.borrow_mut().push(text.to_owned());
    }
}

/// Unpacks a source with `patches`; gives the Makefile's text, `None` if there is no tree, and what was noticed.
fn unpack(patches: &[File]) -> (Result<(), Error>, Option<String>, Vec<String>) {
    let said = Said::default();
    let folder = tempfile::tempdir().unwrap();
    let tools = folder.path().join("tools");
    fs::create_dir(&tools).unwrap();
    let path = Tools::new(&tools, &vmlinux()).path();
    let toolchain = Toolchain::find(&path, true).unwrap();
    let files = Source::Files(vec![source(folder.path(), "7.3.4-1~bpo13+1")]);
    let lock = Lock::take(&folder.path().join("work")).unwrap();
    let package = Package::find(&files, lock.temporary().unwrap()).unwrap();
    assert_eq!(package.id(), "linux-source-7.3=7.3.4-1~bpo13+1");
    let log = folder.path().join("log");
    let mut log = Log::new(&log, &lock).unwrap();
    let (tree, scratch) = (lock.folder().join("source"), lock.temporary().unwrap());
    let outcome = package.unpack(
        &tree,
        patches,
        scratch.path(),
        (&toolchain, &mut log),
        &said,
    );
    let nothing: [&str; 0] = [];
    assert_eq!(Tools { folder: &tools }.compiled(), nothing);
    let text = fs::read_to_string(tree.join("Makefile")).ok();
    (outcome, text, said.0.into_inner())
}

fn patch(text: &'static str) -> File {
    File {
        name: "patches/0001-test.patch",
        text,
    }
}

#[test]
fn patches_are_applied_in_order() {
    let first = patch(
        "--- a/Makefile\n+++ b/Makefile\n@@ -1,2 +1,2 @@\n-VERSION = 7\n+VERSION = 8\n PATCHLEVEL = 3\n",
    );
    let second = patch(
        "--- a/Makefile\n+++ b/Makefile\n@@ -1,2 +1,2 @@\n-VERSION = 8\n+VERSION = 9\n PATCHLEVEL = 3\n",
    );
    let (outcome, text, _) = unpack(&[first, second]);
    outcome.unwrap();
    assert_eq!(text.unwrap(), "VERSION = 9\nPATCHLEVEL = 3\n");
}

#[test]
fn a_patch_that_does_not_apply_is_left_out_whole() {
    let first = "--- a/Makefile\n+++ b/Makefile\n@@ -1,2 +1,2 @@\n-VERSION = 7\n+VERSION = 8\n PATCHLEVEL = 3\n";
    let other = "--- a/other\n+++ b/other\n@@ -1 +1 @@\n-a\n+b\n";
    let (half, whole) = (format!("{first}{other}").leak(), patch(first));
    let (outcome, text, said) = unpack(&[patch(half)]);
    outcome.unwrap();
    assert_eq!(text.unwrap(), "VERSION = 7\nPATCHLEVEL = 3\n");
    let left_out = "leaving out patches/0001-test.patch: this source does not take it";
    assert_eq!(said, [left_out]);
    // So is one that the source has in it already.
    let (outcome, text, said) = unpack(&[whole, whole]);
    outcome.unwrap();
    assert_eq!(text.unwrap(), "VERSION = 8\nPATCHLEVEL = 3\n");
    assert_eq!(said, [left_out]);
}
