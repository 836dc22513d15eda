//! Unpacking a tool out of package files: a small program of the host plays passt.

mod repository;

use std::fs;
use std::path::{Path, PathBuf};

use cenote_debian::tool::Error;
use cenote_debian::{Kind, Source, Tools};
use repository::{Package, Repository, deb};

const LOADER: &str = "/lib64/ld-linux-x86-64.so.2";

/// A library of the host, where Debian keeps it.
fn library(name: &str) -> Vec<u8> {
    let folders = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu"];
    let path = folders
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    fs::read(path.expect("the host's libc")).unwrap()
}

/// passt, as far as it is looked at: a dynamic program that knows `--version`.
fn passt(version: &'static str) -> Package {
    let file = |name: &str, content: Vec<u8>| (name.to_owned(), content);
    let files = vec![
        file("usr/bin/passt", fs::read("/bin/true").unwrap()),
        file("usr/share/doc/passt/copyright", b"left out".to_vec()),
        file("usr/bin/other", b"left out".to_vec()),
    ];
    Package {
        name: "passt",
        version,
        depends: "libc6",
        files,
    }
}

fn libc() -> Package {
    let files = vec![
        (
            "usr/lib64/ld-linux-x86-64.so.2".to_owned(),
            fs::read(LOADER).unwrap(),
        ),
        (
            "usr/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
            library("libc.so.6"),
        ),
        (
            "usr/lib/x86_64-linux-gnu/libunneeded.so.1".to_owned(),
            b"left out".to_vec(),
        ),
    ];
    Package {
        name: "libc6",
        version: "2.41-1",
        depends: "",
        files,
    }
}

fn files(folder: &Path, packages: &[Package]) -> Source {
    let write = |package: &Package| -> PathBuf {
        let path = folder.join(format!("{}.deb", package.name));
        fs::write(&path, deb(package)).unwrap();
        path
    };
    Source::Files(packages.iter().map(write).collect())
}

/// Every file below `folder`, by its path inside it.
fn tree(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(
                tree(&entry.path())
                    .into_iter()
                    .map(|inner| format!("{name}/{inner}")),
            ),
            false => found.push(name),
        }
    }
    found.sort();
    found
}

#[test]
fn a_tool_holds_what_it_needs_runs_by_its_own_loader_and_is_removed() {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tools = Tools::new(folder.path());
    let source = files(debs.path(), &[passt("2:1.5-1"), libc()]);
    let tool = tools.install(&[Kind::Passt], &source).unwrap().remove(0);
    assert_eq!(tool.version, "1.5-1");
    let home = tool.private.as_ref().unwrap().folder.clone();
    assert_eq!(home, folder.path().join("passt-1.5-1"));
    assert_eq!(
        tree(&home),
        [
            "bin/passt",
            "lib/ld-linux-x86-64.so.2",
            "lib/libc.so.6",
            "tool.json"
        ]
    );
    assert!(tool.command().status().unwrap().success());
    assert_eq!(tools.find(Kind::Passt).unwrap(), tool);
    assert_eq!(tools.install(&[Kind::Passt], &source).unwrap(), [tool]);
    tools.remove("passt-1.5-1").unwrap();
    assert_eq!(tree(folder.path()), [".lock"]);
}

#[test]
fn the_newest_version_is_found() {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let tools = Tools::new(folder.path());
    for version in ["1.9-1", "1.10-1", "1.2-1"] {
        tools
            .install(
                &[Kind::Passt],
                &files(debs.path(), &[passt(version), libc()]),
            )
            .unwrap();
    }
    assert_eq!(tools.find(Kind::Passt).unwrap().version, "1.10-1");
}

#[test]
fn an_archive_is_asked_for_the_whole_closure() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::new("trixie", &[passt("1.5-1"), libc()]);
    let source = Source::Archive(cenote_debian::source::Archive {
        mirror: Some(repository.mirror()),
        keyring: Some(repository.keyring()),
    });
    let tools = Tools::new(folder.path());
    let installed = tools.install(&[Kind::Passt], &source).unwrap();
    assert!(installed[0].command().status().unwrap().success());
    assert_eq!(tools.install(&[Kind::Passt], &source).unwrap(), installed);
}

#[test]
fn a_library_that_no_package_holds_is_named_and_nothing_is_left() {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut libc = libc();
    libc.files.retain(|(name, _)| !name.ends_with("libc.so.6"));
    let error = Tools::new(folder.path())
        .install(&[Kind::Passt], &files(debs.path(), &[passt("1.5-1"), libc]))
        .unwrap_err();
    assert!(
        matches!(&error, Error::NoFile { needed_by, file } if needed_by == "passt" && file == "libc.so.6"),
        "{error}"
    );
    assert_eq!(tree(folder.path()), [".lock"]);
}

#[test]
fn a_program_that_does_not_run_is_refused_and_nothing_is_left() {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut passt = passt("1.5-1");
    passt.files[0].1 = fs::read("/bin/false").unwrap();
    let error = Tools::new(folder.path())
        .install(&[Kind::Passt], &files(debs.path(), &[passt, libc()]))
        .unwrap_err();
    assert!(matches!(error, Error::DoesNotRun { .. }), "{error}");
    assert_eq!(tree(folder.path()), [".lock"]);
}
