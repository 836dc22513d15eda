//! Images made by other tools, and a registry, for the tests of this crate.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
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
        fs::create_dir_all(root.join("etc/conf.d")).unwrap();
        fs::create_dir_all(root.join("replaced/by/file")).unwrap();
        fs::create_dir_all(root.join("emptied")).unwrap();
        fs::write(root.join("etc/kept"), "kept\n").unwrap();
        fs::write(root.join("etc/changed"), "before\n").unwrap();
        fs::write(root.join("etc/removed"), "removed\n").unwrap();
        fs::write(root.join("emptied/old"), "old\n").unwrap();
        fs::write(root.join("big"), vec![7; 3 << 20]).unwrap();
        fs::write(root.join("setuid"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(root.join("setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
        symlink("../etc/kept", root.join("link")).unwrap();
    });
    umoci.layer(name, |root| {
        fs::write(root.join("etc/changed"), "after\n").unwrap();
        fs::remove_file(root.join("etc/removed")).unwrap();
        fs::remove_dir_all(root.join("replaced")).unwrap();
        fs::write(root.join("replaced"), "now a file\n").unwrap();
        fs::remove_dir_all(root.join("emptied")).unwrap();
        fs::create_dir(root.join("emptied")).unwrap();
        fs::write(root.join("emptied/new"), "new\n").unwrap();
        fs::hard_link(root.join("etc/kept"), root.join("etc/conf.d/linked")).unwrap();
    });
    umoci.layer(name, |root| {
        fs::remove_file(root.join("link")).unwrap();
        fs::create_dir(root.join("link")).unwrap();
        fs::write(root.join("link/inside"), "a folder replaces a link\n").unwrap();
        fs::create_dir(root.join("tmp")).unwrap();
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    });
    umoci
}

/// Debian's docker-registry on a free port of the loopback interface.
pub struct Registry {
    program: Child,
    pub address: String,
    _folder: TempDir,
}

impl Registry {
    pub fn start() -> Registry {
        let folder = tempfile::tempdir().unwrap();
        let configuration = folder.path().join("config.yml");
        let storage = folder.path().join("storage");
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nhttp: {{addr: '127.0.0.1:0'}}\nstorage: {{filesystem: {{rootdirectory: '{}'}}}}\n",
            storage.display()
        );
        fs::write(&configuration, text).unwrap();
        let mut program = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .env("OTEL_TRACES_EXPORTER", "none")
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
