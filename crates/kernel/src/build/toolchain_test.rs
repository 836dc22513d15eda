use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Toolchain;
use crate::build::Error;

/// A program that answers `--version` and says which headers there are not.
fn program(folder: &Path, name: &str, script: &str) {
    let path = folder.join(name);
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn all_programs(folder: &Path) {
    for name in ["make", "ld", "strip", "flex", "bison", "bc", "tar", "xz"] {
        program(folder, name, &format!("echo {name} 1.0; echo more"));
    }
    program(folder, "gcc", "echo gcc 14; echo more");
}

fn missing(path: &Path, patches: bool) -> String {
    let error = Toolchain::find(path.as_os_str(), patches).unwrap_err();
    assert!(matches!(error, Error::Tools(_)), "{error}");
    error.to_string()
}

#[test]
fn everything_that_is_missing_is_named_at_once_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        missing(folder.path(), true),
        "to build a kernel, this system lacks make gcc ld strip flex bison bc tar xz patch; \
         on Debian, `apt-get install make gcc binutils flex bison bc tar xz-utils patch` brings them"
    );
}

#[test]
fn a_missing_header_is_named() {
    let folder = tempfile::tempdir().unwrap();
    all_programs(folder.path());
    program(
        folder.path(),
        "gcc",
        "case \"$*\" in *gelf.h*) exit 1 ;; esac",
    );
    assert_eq!(
        missing(folder.path(), false),
        "to build a kernel, this system lacks gelf.h; on Debian, `apt-get install libelf-dev` brings them"
    );
}

#[test]
fn a_complete_set_tells_the_first_lines_of_compiler_and_linker() {
    let folder = tempfile::tempdir().unwrap();
    all_programs(folder.path());
    let toolchain = Toolchain::find(folder.path().as_os_str(), false).unwrap();
    assert_eq!(toolchain.compiler, "gcc 14\nld 1.0");
    // Only patches need it.
    assert!(missing(folder.path(), true).contains("lacks patch;"));
}

#[test]
fn a_file_that_cannot_be_run_is_no_program() {
    let folder = tempfile::tempdir().unwrap();
    all_programs(folder.path());
    fs::set_permissions(folder.path().join("bc"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(missing(folder.path(), false).contains("lacks bc;"));
}
