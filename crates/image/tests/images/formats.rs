//! Archives in every format that GNU tar writes, and by an importer that keeps all of it.

use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use cenote_image::{Image, ImportOptions, Reference};

use crate::support::{Fixture, run, set_mtime, set_xattr};
use crate::tree;

/// What the oldest format can hold: names and targets below 100 bytes, whole seconds.
fn plain_tree(root: &Path) {
    fs::create_dir_all(root.join("folder/empty")).unwrap();
    fs::write(root.join("folder/file"), vec![7; 5000]).unwrap();
    fs::write(root.join("folder/none"), "").unwrap();
    fs::hard_link(root.join("folder/file"), root.join("linked")).unwrap();
    symlink("folder/file", root.join("symbolic")).unwrap();
    fs::write(root.join("program"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("program"), fs::Permissions::from_mode(0o6755)).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
}

/// What only newer ones can.
fn long_tree(root: &Path) {
    plain_tree(root);
    let deep = root.join("a".repeat(200)).join("b".repeat(200));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("c".repeat(255)), "long\n").unwrap();
    symlink("t".repeat(300), root.join("long target")).unwrap();
    fs::hard_link(deep.join("c".repeat(255)), root.join("long link")).unwrap();
}

fn sparse_file(root: &Path) {
    let file = fs::File::create(root.join("sparse")).unwrap();
    // More than the four parts that fit in a header.
    for part in 0..60_u64 {
        let data = [part as u8 + 1; 5000];
        file.write_all_at(&data, part * (1 << 20) + 8192).unwrap();
    }
}

fn hole_at_the_end(root: &Path) {
    let file = fs::File::create(root.join("sparse")).unwrap();
    file.write_all_at(b"data", 1 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
}

/// Imports what `make` makes, packed with these options.
fn import(fixture: &Fixture, options: &[&str], make: impl FnOnce(&Path)) -> Image {
    let (root, archive) = (fixture.path("root"), fixture.path("root.tar"));
    fs::create_dir(&root).unwrap();
    make(&root);
    if !options.contains(&"--format=pax") {
        let whole_second = rustix::fs::Timespec {
            tv_sec: 1_234_567_890,
            tv_nsec: 0,
        };
        for path in tree::read(&root).keys().rev() {
            set_mtime(&root.join(path), whole_second);
        }
    }
    let mut tar = Command::new("tar");
    tar.args(options).arg("-cf").arg(&archive);
    run("tar", tar.arg("-C").arg(&root).arg("."));
    let name = Reference::local("root").unwrap();
    let input = fs::File::open(&archive).unwrap();
    let options = ImportOptions::default();
    fixture.store.import(input, &name, &options).unwrap()
}

/// The imported tree must be the one that was packed.
fn round_trip(options: &[&str], make: impl FnOnce(&Path)) {
    let fixture = Fixture::new();
    let image = import(&fixture, options, make);
    let extracted = tree::extract(&image, &fixture.path("extracted"));
    tree::assert_equal(&extracted, &tree::read(&fixture.path("root")));
}

#[test]
fn the_oldest_formats() {
    round_trip(&["--format=v7"], |root| {
        plain_tree(root);
        fs::remove_file(root.join("pipe")).unwrap();
    });
    round_trip(&["--format=ustar"], plain_tree);
}

#[test]
fn gnu_long_names_and_sparse_files() {
    round_trip(&["--format=gnu"], long_tree);
    round_trip(&["--format=gnu", "--sparse"], sparse_file);
}

#[test]
fn pax_times_xattrs_and_sparse_files() {
    round_trip(
        &["--format=pax", "--xattrs", "--xattrs-include=*"],
        |root| {
            long_tree(root);
            set_xattr(
                &root.join("program"),
                "user.binary",
                b"a=b\nc\0d\n\n12 x=y\n",
            );
            set_xattr(&root.join("folder"), "user.of-a-folder", b"x");
            let old = rustix::fs::Timespec {
                tv_sec: -1,
                tv_nsec: 123_456_789,
            };
            set_mtime(&root.join("linked"), old);
        },
    );
    for version in ["0.0", "0.1", "1.0"] {
        let version = format!("--sparse-version={version}");
        round_trip(&["--format=pax", "--sparse", &version], sparse_file);
    }
}

/// erofs-utils 1.8 forgets a hole at the end when it writes a file, but knows how long the file is.
#[test]
fn a_hole_at_the_end() {
    for format in ["--format=gnu", "--format=pax"] {
        let fixture = Fixture::new();
        let image = import(&fixture, &[format, "--sparse"], hole_at_the_end);
        let description = tree::dump(&image, "/sparse");
        assert!(description.contains("Size: 67108864 "), "{description}");
    }
}

#[test]
fn a_compressed_archive_is_recognised() {
    round_trip(&["--format=gnu", "--gzip"], plain_tree);
}
