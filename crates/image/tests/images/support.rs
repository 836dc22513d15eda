//! Images made by other tools, and a registry, for the tests of this crate.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cenote_image::Store;
use tempfile::TempDir;

/// A folder for everything that a test makes, with a store in it.
pub struct Fixture {
    folder: TempDir,
    pub store: Store,
}

impl Fixture {
    pub fn new() -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("images")).unwrap();
        Fixture { folder, store }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Everything in the store that is not an empty folder, sorted.
    pub fn stored(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.store.folder().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => found.push(path.strip_prefix(self.store.folder()).unwrap().to_owned()),
                }
            }
        }
        found.sort();
        found
    }

    /// What a store holds that never held an image.
    pub fn assert_empty(&self) {
        assert_eq!(self.stored(), [Path::new("format"), Path::new("lock")]);
    }
}

/// Runs a program that must succeed; the package names the remedy.
pub fn run(package: &str, command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!("cannot run {command:?}: {error}; install Debian's {package}")
    });
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{text}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn skopeo(arguments: &[&str]) -> String {
    let mut command = Command::new("skopeo");
    command.arg("--insecure-policy").args(arguments);
    run("skopeo", &mut command)
}

/// An OCI layout that grows by one layer each time.
pub struct Umoci {
    layout: PathBuf,
    bundle: PathBuf,
}

impl Umoci {
    /// A layout with an image called `name` that has no layer yet.
    pub fn new(layout: &Path, name: &str) -> Umoci {
        let umoci = Umoci {
            layout: layout.join(""),
            bundle: layout.with_extension("bundle"),
        };
        let layout = layout.to_str().unwrap();
        run(
            "umoci",
            Command::new("umoci").args(["init", "--layout", layout]),
        );
        let image = format!("{layout}:{name}");
        run(
            "umoci",
            Command::new("umoci").args(["new", "--image", &image]),
        );
        umoci
    }

    /// Unpacks `name`, lets `change` work on the root file system, and packs the difference as a layer of it.
    pub fn layer(&self, name: &str, change: impl FnOnce(&Path)) {
        self.unpack(name, &self.bundle);
        change(&self.bundle.join("rootfs"));
        let image = self.image(name);
        run(
            "umoci",
            Command::new("umoci")
                .args(["repack", "--image", &image])
                .arg(&self.bundle),
        );
        fs::remove_dir_all(&self.bundle).unwrap();
    }

    /// Unpacks `name` into the folder `rootfs` of `bundle`.
    pub fn unpack(&self, name: &str, bundle: &Path) {
        let mut command = Command::new("umoci");
        command.args(["unpack", "--image", &self.image(name)]);
        if !rustix::process::geteuid().is_root() {
            command.arg("--rootless");
        }
        run("umoci", command.arg(bundle));
    }

    fn image(&self, name: &str) -> String {
        format!(
            "{}:{name}",
            self.layout.to_str().unwrap().trim_end_matches('/')
        )
    }
}

/// Three layers with files that are changed, removed, replaced, hidden and linked.
pub fn layered(layout: &Path, name: &str) -> Umoci {
    let umoci = Umoci::new(layout, name);
    umoci.layer(name, |root| {
        let path = |name: &str| root.join(name);
        fs::create_dir_all(path("etc/conf.d")).unwrap();
        fs::create_dir_all(path("replaced/by/file")).unwrap();
        fs::create_dir_all(path("emptied/deep")).unwrap();
        fs::write(path("etc/kept"), "kept\n").unwrap();
        fs::write(path("etc/changed"), "before\n").unwrap();
        fs::write(path("etc/removed"), "removed\n").unwrap();
        fs::write(path("emptied/deep/old"), "old\n").unwrap();
        fs::write(path("big"), vec![7; 3 << 20]).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::write(path("lib-1"), "linked\n").unwrap();
        fs::hard_link(path("lib-1"), path("lib-2")).unwrap();
        symlink("../etc/kept", path("link")).unwrap();
        symlink("/nowhere/at/all", path("dangling")).unwrap();
        fs::write(path("setuid"), "#!/bin/sh\n").unwrap();
        set_mode(&path("setuid"), 0o4755);
        let sparse = fs::File::create(path("sparse")).unwrap();
        sparse.write_all_at(b"in the middle", 5 << 20).unwrap();
        sparse.set_len(9 << 20).unwrap();
        let long = path("long").join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&long).unwrap();
        fs::write(long.join("\u{e4}\u{4e2d}".repeat(40)), "a long name\n").unwrap();
        set_xattr(&path("etc/kept"), "user.binary", b"a=b\nc\0d");
        let old = rustix::fs::Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 123_456_789,
        };
        set_mtime(&path("etc/kept"), old);
        as_root(root);
    });
    umoci.layer(name, |root| {
        let path = |name: &str| root.join(name);
        fs::write(path("etc/changed"), "after\n").unwrap();
        fs::remove_file(path("etc/removed")).unwrap();
        fs::remove_dir_all(path("replaced")).unwrap();
        fs::write(path("replaced"), "now a file\n").unwrap();
        fs::remove_dir_all(path("emptied")).unwrap();
        fs::create_dir(path("emptied")).unwrap();
        fs::write(path("emptied/new"), "new\n").unwrap();
        // Of the layer below.
        fs::hard_link(path("lib-1"), path("etc/conf.d/linked")).unwrap();
        set_mode(&path("big"), 0o600);
        fs::remove_file(path("link")).unwrap();
        fs::create_dir(path("link")).unwrap();
        fs::write(path("link/inside"), "a folder replaces a link\n").unwrap();
    });
    umoci.layer(name, |root| {
        let path = |name: &str| root.join(name);
        fs::create_dir(path("tmp")).unwrap();
        set_mode(&path("tmp"), 0o1777);
        fs::remove_file(path("lib-2")).unwrap();
        fs::write(path("etc/removed"), "back again\n").unwrap();
        fs::remove_dir_all(path("long")).unwrap();
        set_xattr(&path("etc"), "user.of-a-folder", b"x");
    });
    umoci
}

/// What only root can make: owners, devices, capabilities.
fn as_root(root: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    std::os::unix::fs::chown(root.join("etc/changed"), Some(1000), Some(100_000)).unwrap();
    std::os::unix::fs::lchown(root.join("dangling"), Some(7), Some(8)).unwrap();
    let mode = Mode::from_raw_mode(0o640);
    mknodat(
        CWD,
        root.join("null"),
        FileType::CharacterDevice,
        mode,
        makedev(1, 3),
    )
    .unwrap();
    mknodat(
        CWD,
        root.join("disk"),
        FileType::BlockDevice,
        mode,
        makedev(259, 70_000),
    )
    .unwrap();
    mknodat(CWD, root.join("pipe"), FileType::Fifo, mode, 0).unwrap();
    // Not `security.capability`: erofs-utils changes the owner after the xattrs, and Linux takes it away then.
    set_xattr(&root.join("big"), "security.test", &[1, 0, 0, 2]);
    set_xattr(&root.join("empty"), "trusted.secret", b"t");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

pub fn set_xattr(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::lsetxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

pub fn set_mtime(path: &Path, time: rustix::fs::Timespec) {
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        path,
        &times,
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )
    .unwrap();
}

/// Debian's docker-registry on a free port of the loopback interface.
pub struct Registry {
    program: Child,
    pub address: String,
    _folder: TempDir,
}

impl Registry {
    pub fn start() -> Registry {
        Registry::start_with("addr: '127.0.0.1:0'", "")
    }

    pub fn port(&self) -> &str {
        self.address.rsplit(':').next().unwrap()
    }

    /// With a section `http` of its own, and more sections.
    pub fn start_with(http: &str, more: &str) -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{{http}}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n{more}\n",
            storage.display()
        );
        fs::write(&configuration, text).unwrap();
        let mut program = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            // It would take it for a part of its configuration.
            .env_remove("REGISTRY_AUTH_FILE")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("cannot run docker-registry: {error}; install Debian's docker-registry")
            });
        let mut lines = BufReader::new(program.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(Result::unwrap)
            .find_map(|line| {
                let start = line.find("listening on ")? + "listening on ".len();
                let rest = &line[start..];
                Some(rest[..rest.find(['"', ',']).unwrap_or(rest.len())].to_owned())
            })
            .expect("docker-registry says where it listens");
        // Without a reader it would stop at a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Registry {
            program,
            address,
            _folder: folder,
        }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}
