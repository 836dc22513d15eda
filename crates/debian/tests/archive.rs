//! What a private apt root takes from an archive, and what it refuses.

mod repository;

use std::fs;
use std::path::Path;

use cenote_debian::archive::Error;
use cenote_debian::source::Archive;
use cenote_debian::{AptRoot, Deb};
use repository::{Package, Repository};

const SUITE: &str = "test";

fn repository() -> Repository {
    let package = |name, depends| Package {
        name,
        version: "1.0-1",
        depends,
        files: vec![(format!("usr/bin/{name}"), name.into())],
    };
    Repository::new(
        SUITE,
        &[
            package("program", "library (>= 1)"),
            package("library", ""),
            package("unrelated", ""),
        ],
    )
}

fn archive(repository: &Repository) -> Archive {
    Archive {
        mirror: Some(repository.mirror()),
        keyring: Some(repository.keyring()),
    }
}

/// Opens a root that has to fail, and sees that it leaves nothing.
fn refused(archive: &Archive, suite: &str) -> Error {
    let scratch = tempfile::tempdir().unwrap();
    let error =
        AptRoot::open(archive, &[suite], scratch.path()).expect_err("the archive was taken");
    assert_eq!(
        fs::read_dir(scratch.path()).unwrap().count(),
        0,
        "something was left in the scratch folder"
    );
    error
}

/// Replaces one word of a file.
fn tamper(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from));
    fs::write(path, text.replacen(from, to, 1)).unwrap();
}

fn names(files: &[std::path::PathBuf]) -> Vec<String> {
    files
        .iter()
        .map(|file| Deb::open(file).unwrap().package)
        .collect()
}

#[test]
fn a_signed_archive_is_searched_and_fetched() {
    let (repository, scratch) = (repository(), tempfile::tempdir().unwrap());
    let root = AptRoot::open(&archive(&repository), &[SUITE], scratch.path()).unwrap();
    assert_eq!(root.search("^(program|library)$").unwrap().len(), 2);
    assert_eq!(root.candidate("program").unwrap(), "1.0-1");
    assert_eq!(
        names(&root.download(&["unrelated"]).unwrap()),
        ["unrelated"]
    );
    assert_eq!(
        names(&root.closure(&["program"]).unwrap()),
        ["library", "program"]
    );
    drop(root);
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn a_package_that_does_not_exist_is_named() {
    let (repository, scratch) = (repository(), tempfile::tempdir().unwrap());
    let root = AptRoot::open(&archive(&repository), &[SUITE], scratch.path()).unwrap();
    for error in [
        root.candidate("missing").unwrap_err(),
        root.closure(&["missing"]).unwrap_err(),
    ] {
        assert!(
            matches!(&error, Error::NoPackage { package, .. } if package == "missing"),
            "{error}"
        );
    }
}

#[test]
fn a_release_file_changed_after_signing_is_refused() {
    let repository = repository();
    tamper(&repository.release(), "Origin: Test", "Origin: Debi");
    let error = refused(&archive(&repository), SUITE);
    assert!(matches!(error, Error::Signature { .. }), "{error}");
}

#[test]
fn the_signature_of_a_stranger_is_refused() {
    let repository = repository();
    let stranger = repository.path("stranger");
    repository::make_key(&stranger);
    repository.sign(&stranger, "");
    let error = refused(&archive(&repository), SUITE);
    assert!(matches!(error, Error::Signature { .. }), "{error}");
}

#[test]
fn an_unsigned_release_file_is_refused() {
    let repository = repository();
    fs::remove_file(repository.release()).unwrap();
    fs::rename(
        repository.path("unsigned"),
        repository.release().with_file_name("Release"),
    )
    .unwrap();
    let error = refused(&archive(&repository), SUITE);
    assert!(matches!(error, Error::Signature { .. }), "{error}");
}

#[test]
fn an_index_changed_after_signing_is_refused() {
    let repository = repository();
    tamper(&repository.index(), "Package: program", "Package: prograM");
    let error = refused(&archive(&repository), SUITE);
    assert!(matches!(error, Error::Mismatch { .. }), "{error}");
}

#[test]
fn a_package_changed_after_indexing_is_refused() {
    let (repository, scratch) = (repository(), tempfile::tempdir().unwrap());
    let root = AptRoot::open(&archive(&repository), &[SUITE], scratch.path()).unwrap();
    let path = repository.path("pool/program.deb");
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
    for error in [
        root.download(&["program"]).unwrap_err(),
        root.closure(&["program"]).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Mismatch { .. }), "{error}");
    }
}

#[test]
fn a_release_file_past_its_date_is_refused() {
    let repository = repository();
    let expired = "Valid-Until: Fri, 02 Jan 2026 00:00:00 UTC\n";
    repository.sign(&repository.gnupg(), expired);
    let error = refused(&archive(&repository), SUITE);
    assert!(matches!(error, Error::Expired { .. }), "{error}");
}

#[test]
fn a_suite_that_the_mirror_does_not_have_is_named() {
    let error = refused(&archive(&repository()), "another");
    assert!(
        matches!(&error, Error::NoSuite { suites, .. } if suites == "another"),
        "{error}"
    );
}

#[test]
fn a_mirror_that_does_not_answer_is_told_from_a_bad_one() {
    // Port 1 of the loopback interface: nothing listens there.
    let mirror = Some("http://127.0.0.1:1/debian".to_owned());
    let error = refused(
        &Archive {
            mirror,
            ..archive(&repository())
        },
        SUITE,
    );
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn a_mirror_cannot_smuggle_options_into_the_sources() {
    let repository = repository();
    for mirror in [
        "[trusted=yes] http://127.0.0.1:1/",
        "http://127.0.0.1:1/ x\ndeb http://127.0.0.1:1/",
        "",
    ] {
        let error = refused(
            &Archive {
                mirror: Some(mirror.to_owned()),
                ..archive(&repository)
            },
            SUITE,
        );
        assert!(
            matches!(error, Error::Unusable { what: "mirror", .. }),
            "{error}"
        );
    }
}

#[test]
fn without_keys_nothing_is_fetched() {
    let missing = Some("/nonexistent/keyring.gpg".into());
    let error = refused(
        &Archive {
            keyring: missing,
            ..archive(&repository())
        },
        SUITE,
    );
    assert!(matches!(error, Error::NoKeyring(_)), "{error}");
}
