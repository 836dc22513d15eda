//! A Debian archive of a few packages, signed by a key of its own: the fixture of the archive's and the kernel's tests.

pub mod package;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use package::control;
pub use package::{Package, deb};

/// An archive in a temporary folder; apt reads it through its `copy:` method, so no server is needed.
pub struct Repository {
    folder: TempDir,
    suite: &'static str,
}

impl Repository {
    /// Builds, indexes and signs an archive.
    pub fn new(suite: &'static str, packages: &[Package]) -> Self {
        let repository = Self {
            folder: tempfile::tempdir().unwrap(),
            suite,
        };
        make_key(&repository.gnupg());
        let keys = gpg(&repository.gnupg(), &["--export"], &[]);
        fs::write(repository.keyring(), keys).unwrap();
        fs::create_dir_all(
            repository
                .path("dists")
                .join(suite)
                .join("main/binary-amd64"),
        )
        .unwrap();
        fs::create_dir_all(repository.path("pool")).unwrap();
        let mut index = String::new();
        for package in packages {
            let deb = deb(package);
            let name = format!("pool/{}.deb", package.name);
            index += &control(package);
            index += &format!(
                "Filename: {name}\nSize: {}\nSHA256: {}\n\n",
                deb.len(),
                hex(&Sha256::digest(&deb))
            );
            fs::write(repository.path(&name), deb).unwrap();
        }
        fs::write(repository.index(), index).unwrap();
        repository.sign(&repository.gnupg(), "");
        repository
    }

    /// Writes the release file for the index as it is, with `extra` fields, signed by the key in `home`.
    pub fn sign(&self, home: &Path, extra: &str) {
        let index = fs::read(self.index()).unwrap();
        let release = format!(
            "Origin: Test\nSuite: {0}\nCodename: {0}\nArchitectures: amd64\nComponents: main\n\
             Date: Thu, 01 Jan 2026 00:00:00 UTC\n{extra}SHA256:\n {1} {2} main/binary-amd64/Packages\n",
            self.suite,
            hex(&Sha256::digest(&index)),
            index.len()
        );
        let unsigned = self.path("unsigned");
        fs::write(&unsigned, release).unwrap();
        let signed = gpg(home, &["--clearsign", "--output", "-"], &[&unsigned]);
        fs::write(self.release(), signed).unwrap();
    }

    pub fn mirror(&self) -> String {
        format!("file:{}", self.folder.path().display())
    }

    pub fn keyring(&self) -> PathBuf {
        self.path("keyring.gpg")
    }

    /// The signed release file.
    pub fn release(&self) -> PathBuf {
        self.path("dists").join(self.suite).join("InRelease")
    }

    pub fn index(&self) -> PathBuf {
        self.path("dists")
            .join(self.suite)
            .join("main/binary-amd64/Packages")
    }

    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside)
    }

    /// The home of the key that is in the keyring.
    pub fn gnupg(&self) -> PathBuf {
        self.path("gnupg")
    }
}

impl Drop for Repository {
    /// Ends the agents that gpg left behind.
    fn drop(&mut self) {
        for home in ["gnupg", "stranger"] {
            let home = self.path(home);
            if home.exists() {
                let _ = Command::new("gpgconf")
                    .arg("--homedir")
                    .arg(home)
                    .args(["--kill", "all"])
                    .status();
            }
        }
    }
}

/// Makes a key in the new folder `home`.
pub fn make_key(home: &Path) {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().mode(0o700).create(home).unwrap();
    gpg(
        home,
        &[
            "--passphrase",
            "",
            "--quick-generate-key",
            "Test <test@example.org>",
            "ed25519",
            "sign",
            "never",
        ],
        &[],
    );
}

fn gpg(home: &Path, arguments: &[&str], files: &[&Path]) -> Vec<u8> {
    let output = Command::new("gpg")
        .arg("--homedir")
        .arg(home)
        .args(["--batch", "--yes", "--quiet"])
        .args(arguments)
        .args(files)
        .output();
    let output =
        output.expect("gpg is needed to sign the test's archive: install the package gnupg");
    assert!(
        output.status.success(),
        "gpg {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
