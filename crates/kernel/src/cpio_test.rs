use std::io::Write;
use std::process::{Command, Stdio};

use super::Cpio;

/// cpio(1) is the judge of the format.
#[test]
fn cpio_lists_what_was_written() {
    let mut archive = Cpio::default();
    archive.program("init", b"program");
    archive.directory("lib");
    archive.file("lib/odd", b"12345");
    archive.file("empty", b"");
    archive.device("null", (1, 3));
    let bytes = archive.finish();
    let mut cpio = Command::new("cpio")
        .args(["--list", "--verbose", "--quiet", "--numeric-uid-gid"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio judges the format: install the package cpio");
    cpio.stdin.take().unwrap().write_all(&bytes).unwrap();
    let output = cpio.wait_with_output().unwrap();
    assert!(output.status.success());
    let listing = String::from_utf8(output.stdout).unwrap();
    let fields: Vec<Vec<&str>> = listing
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let rows: Vec<(&str, &str, &str)> = fields
        .iter()
        .map(|row| (row[0], row[4], *row.last().unwrap()))
        .collect();
    assert_eq!(
        rows,
        [
            ("-rwxr-xr-x", "7", "init"),
            ("drwxr-xr-x", "0", "lib"),
            ("-rw-r--r--", "5", "lib/odd"),
            ("-rw-r--r--", "0", "empty"),
            ("crw-rw-rw-", "1,", "null")
        ]
    );
}
