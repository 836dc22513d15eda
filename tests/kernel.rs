//! Building a guest kernel, with tools that only pretend: killed, awaited, listed, preferred and removed.

use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;

use rustix::fs::Mode;
use rustix::process::Signal;

use crate::fixture::Host;
use crate::fixture::outcome::Running;
use crate::toolchain::{Tools, source, vmlinux};

/// A machine with pretended build tools and a source for them.
struct Builder {
    host: Host,
    source: PathBuf,
    folder: PathBuf,
}

impl Builder {
    fn new() -> Self {
        let host = Host::new();
        let folder = host.scratch().join("tools");
        fs::create_dir(&folder).unwrap();
        Tools::new(&folder, &vmlinux());
        let source = source(host.scratch(), "7.3.4-1~bpo13+1");
        Self {
            host,
            source,
            folder,
        }
    }

    fn start(&self) -> Running {
        let tools = Tools {
            folder: &self.folder,
        };
        let source = self.source.to_str().unwrap();
        self.host
            .cenote(&["kernel", "build", "--deb", source])
            .env("PATH", tools.path().to_str().unwrap())
            .start()
    }

    fn compiled(&self) -> Vec<String> {
        let folder = &self.folder;
        Tools { folder }.compiled()
    }

    /// Makes builds stop at the second object until somebody answers.
    fn stop_halfway(&self) -> PathBuf {
        let path = self.folder.join("answer");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RWXU).unwrap();
        path
    }
}

#[test]
fn a_build_that_was_killed_goes_on() {
    let builder = Builder::new();
    let answer = builder.stop_halfway();
    let build = builder.start();
    // This waits for a reader: the build is in the midst of the second object then.
    let writer = File::options().write(true).open(&answer).unwrap();
    build.signal(Signal::KILL);
    build.dies();
    // What is left of it holds the lock; it finishes that object, and ends when nobody hears it.
    let second = builder.start();
    drop(writer);
    second.finish().succeeds();
    assert_eq!(builder.compiled(), ["one", "two", "three"]);
}

#[test]
fn two_builds_at_once_are_one() {
    let builder = Builder::new();
    let answer = builder.stop_halfway();
    let first = builder.start();
    let mut writer = File::options().write(true).open(&answer).unwrap();
    let mut second = builder.start();
    let mut said = BufReader::new(second.stderr()).lines();
    assert_eq!(
        said.next().unwrap().unwrap(),
        "cenote: waiting for another build"
    );
    writer.write_all(b"go on\n").unwrap();
    drop(writer);
    let name = first.finish().succeeds().stdout();
    second.finish().succeeds().prints(&name);
    assert_eq!(builder.compiled(), ["one", "two", "three"]);
}

#[test]
fn a_built_kernel_is_listed_first_preferred_and_kept_while_somebody_names_it() {
    let builder = Builder::new();
    let host = &builder.host;
    let list = || {
        let listing = host.run(&["kernel", "ls", "--format", "json"]);
        let listing = listing.succeeds().json();
        listing.as_array().unwrap().clone()
    };
    let before = list();
    let built = builder.start().finish().succeeds().stdout();
    assert!(built.starts_with("7.3.4-cenote-"), "{built}");
    assert_eq!(list()[0]["version"], built);
    assert_eq!(list()[0]["kind"], "built");
    assert_eq!(list()[1..], before);
    assert_eq!(before.last().unwrap()["kind"], "distro");
    assert!(list()[0]["size"].as_u64().unwrap() > vmlinux().len() as u64);
    let info = host.run(&["info", "--format", "json"]).succeeds().json();
    assert_eq!(info["kernel"], built);

    host.run(&["create", "--kernel", &built, "--name", "user", "busybox"])
        .succeeds();
    assert_eq!(list()[0]["used_by"], serde_json::json!(["user"]));
    let table = host.run(&["kernel", "ls"]).succeeds().stdout();
    let row = table.lines().find(|line| line.contains(&built)).unwrap();
    assert!(row.contains("built") && row.contains("user"), "{table}");
    host.run(&["kernel", "rm", &built])
        .fails_with(&["container user", "--force"]);
    host.run(&["rm", "user"]).succeeds();
    host.run(&["kernel", "rm", &built])
        .succeeds()
        .prints(&built);
    let info = host.run(&["info", "--format", "json"]).succeeds().json();
    assert_eq!(info["kernel"], before[0]["version"]);
}

#[test]
fn missing_tools_are_named_at_once() {
    let builder = Builder::new();
    fs::remove_file(builder.folder.join("flex")).unwrap();
    fs::remove_file(builder.folder.join("bison")).unwrap();
    // The host's own must not stand in.
    let only = builder.folder.to_str().unwrap();
    builder
        .host
        .cenote(&["kernel", "build"])
        .env("PATH", only)
        .run()
        .fails_with(&[
            "flex bison tar xz",
            "apt-get install flex bison tar xz-utils",
        ]);
}
