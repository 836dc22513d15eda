use std::path::Path;

use super::{Error, Kind, Private, Tool, Tools, host, is_needed};
use crate::Source;

#[test]
fn versions_are_read_from_what_programs_print() {
    assert_eq!(
        host::parse("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\nCopyright\n").as_deref(),
        Some("10.0.2")
    );
    assert_eq!(
        host::parse("passt 0.0~git20250503.587980c\n").as_deref(),
        Some("0.0~git20250503.587980c")
    );
    assert_eq!(
        host::parse("passt unknown version\n").as_deref(),
        Some("unknown")
    );
    assert_eq!(host::parse("something else\n"), None);
    assert_eq!(host::parse(""), None);
}

#[test]
fn only_programs_libraries_and_firmware_are_unpacked() {
    let needed = |path| is_needed(Kind::Qemu, Path::new(path));
    assert!(needed("usr/bin/qemu-system-x86_64"));
    assert!(needed("usr/lib/x86_64-linux-gnu/libglib-2.0.so.0"));
    assert!(needed("usr/lib64/ld-linux-x86-64.so.2"));
    assert!(needed("usr/share/seabios/bios-256k.bin"));
    assert!(!needed("usr/share/doc/qemu/copyright"));
    assert!(!needed("usr/bin/passwd"));
    assert!(!needed("usr/share/fake.so.1"));
}

#[test]
fn an_unpacked_tool_runs_through_its_own_loader() {
    let folder = Path::new("/data/tools/qemu-10");
    let private = Private {
        folder: folder.to_owned(),
        loader: folder.join("lib/ld.so"),
        library_path: folder.join("lib"),
    };
    let tool = Tool {
        kind: Kind::Qemu,
        version: "10".to_owned(),
        program: folder.join("bin/qemu-system-x86_64"),
        private: Some(private),
    };
    let command = tool.command();
    assert_eq!(command.get_program(), "/data/tools/qemu-10/lib/ld.so");
    let arguments: Vec<_> = command
        .get_args()
        .map(|argument| argument.to_str().unwrap())
        .collect();
    assert_eq!(
        arguments,
        [
            "--inhibit-cache",
            "--library-path",
            "/data/tools/qemu-10/lib",
            "--argv0",
            "qemu-system-x86_64",
            "/data/tools/qemu-10/bin/qemu-system-x86_64",
            "-L",
            "/data/tools/qemu-10/share"
        ]
    );
}

#[test]
fn an_empty_folder_has_no_tools_and_removing_one_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::new(folder.path().join("tools"));
    assert!(
        tools
            .list()
            .unwrap()
            .iter()
            .all(|tool| tool.private.is_none())
    );
    assert!(matches!(tools.remove("qemu-10"), Err(Error::NotInstalled(name)) if name == "qemu-10"));
}

#[test]
fn a_loader_cannot_search_a_folder_with_a_colon() {
    let tools = Tools::new("/nonexistent/a:b");
    assert!(matches!(
        tools.install(&Kind::ALL, &Source::Files(Vec::new())),
        Err(Error::Path(_))
    ));
}

#[test]
fn packages_without_the_program_are_refused_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let error = Tools::new(folder.path())
        .install(&[Kind::Passt], &Source::Files(Vec::new()))
        .unwrap_err();
    assert!(matches!(
        error,
        Error::NoPackage {
            kind: Kind::Passt,
            package: "passt"
        }
    ));
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, [".lock"]);
}
