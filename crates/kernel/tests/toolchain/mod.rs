//! Build tools that only pretend, and a Linux source that they build in no time: the fixture of tests that build a kernel.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::package::{Package, deb};

/// Configures by copying what is wanted, and compiles three objects, as far as `make` would not find them finished. Each
/// run of the compiler is noted in `compiled`. A file `answer` stops it at the second object: `fail` fails, a FIFO waits
/// for whoever writes to it.
const MAKE: &str = r#"
here=$(dirname "$0")
for word; do
    case $word in O=*) objects=${word#O=} ;; esac
    target=$word
done
case $target in
    --version) echo make 1.0 ;;
    allnoconfig) grep -v -f "$here/dropped" "$KCONFIG_ALLCONFIG" >"$objects/.config" ;;
    vmlinux)
        for object in one two three; do
            if [ ! -f "$objects/$object.o" ]; then
                echo "  CC      $object.o"
                echo $object >>"$here/compiled"
                if [ $object = two ] && [ -e "$here/answer" ]; then
                    read -r answer <"$here/answer"
                    [ "$answer" != fail ] || { echo 'two.c:1: error: no such thing' >&2; exit 2; }
                fi
                touch "$objects/$object.o"
            fi
        done
        cp "$here/kernel" "$objects/vmlinux"
        ;;
    *) exit 9 ;;
esac
"#;

/// The pretended tools, in a folder.
pub struct Tools<'a> {
    pub folder: &'a Path,
}

impl Tools<'_> {
    /// Makes them in the existing folder `folder`; what they build is `kernel`.
    pub fn new<'a>(folder: &'a Path, kernel: &[u8]) -> Tools<'a> {
        let tools = Tools { folder };
        tools.program("make", MAKE);
        for name in ["gcc", "ld", "flex", "bison", "bc"] {
            tools.program(name, &format!("echo {name} 1.0"));
        }
        tools.program("strip", "[ $1 = --strip-all ] && cp \"$4\" \"$3\"");
        fs::write(folder.join("kernel"), kernel).unwrap();
        fs::write(folder.join("dropped"), "").unwrap();
        tools
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// These tools first, then the system's, of which the scripts use some.
    pub fn path(&self) -> OsString {
        let mut path = self.folder.as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        path
    }

    /// What was compiled so far, in order.
    pub fn compiled(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("compiled")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// A package `linux-source-7.3` with a small file in it, written into `folder`.
pub fn source(folder: &Path, version: &'static str) -> PathBuf {
    let path = folder.join(format!("source-{version}.deb"));
    fs::write(&path, deb(&source_package(version))).unwrap();
    path
}

/// The same, for an archive.
pub fn source_package(version: &'static str) -> Package {
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    let text = b"VERSION = 7\nPATCHLEVEL = 3\n";
    header.set_size(text.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, "linux-source-7.3/Makefile", &text[..])
        .unwrap();
    let tarball = xz(&tar.into_inner().unwrap());
    Package {
        name: "linux-source-7.3",
        version,
        depends: "",
        files: vec![("usr/src/linux-source-7.3.tar.xz".to_owned(), tarball)],
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut child = Command::new("xz")
        .args(["--stdout", "--compress"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("xz is needed: install the package xz-utils");
    child.stdin.take().unwrap().write_all(bytes).unwrap();
    child.wait_with_output().unwrap().stdout
}

/// The smallest file that passes for a kernel: an x86-64 ELF file with nothing but a PVH entry note.
pub fn vmlinux() -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0".to_vec();
    for word in [0u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    let (offset, size) = (64u64 + 56, 20u64);
    for word in [4u64 | 4 << 32, offset, 0, 0, size, size, 4] {
        file.extend(word.to_le_bytes());
    }
    for word in [4u32, 4, 18] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"Xen\0\x01\0\0\0");
    file
}
