//! The program under measure, with folders of its own, and the sandboxes that it runs.
//!
//! Guest kernels and tools come from the folder that `CENOTE_TEST_DATA` names, as for the scenario tests; `make bench`
//! prepares it. Images, sandboxes and sockets live in a temporary folder.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use crate::cost::{self, Cost};

/// A data folder and the program that uses it.
#[derive(Debug)]
pub struct Host {
    folder: TempDir,
    program: PathBuf,
}

impl Host {
    /// A machine with kernels and tools, and no image.
    ///
    /// # Errors
    /// When the program or what it needs has not been prepared.
    pub fn new() -> anyhow::Result<Self> {
        let prepared = env::var_os("CENOTE_TEST_DATA").map(PathBuf::from);
        let prepared = prepared
            .context("CENOTE_TEST_DATA is not set: run `make bench`, which prepares that folder")?;
        let prepared = fs::canonicalize(&prepared)
            .with_context(|| format!("cannot find {}", prepared.display()))?;
        let folder = tempfile::Builder::new().prefix("cenote-bench").tempdir()?;
        let host = Self {
            folder,
            program: program()?,
        };
        fs::create_dir(host.data())?;
        for name in ["kernels", "tools"] {
            link_entries(&prepared.join(name), &host.data().join(name))?;
        }
        Ok(host)
    }

    /// A machine that has the image `busybox` too.
    ///
    /// # Errors
    /// As [`Host::new`], or when the image cannot be made.
    pub fn with_busybox() -> anyhow::Result<Self> {
        let host = Self::new()?;
        host.run(&["image", "build-base", "busybox"])?;
        Ok(host)
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The guest kernels and the programs that it uses, with their versions.
    ///
    /// # Errors
    /// When their folders cannot be read.
    pub fn versions(&self) -> anyhow::Result<String> {
        let mut names = Vec::new();
        for folder in ["kernels", "tools"] {
            for entry in fs::read_dir(self.data().join(folder))? {
                names.push(entry?.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names.join(", "))
    }

    /// The last of its `kernels` or `tools` with a `wanted` name, in the order of their names.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn last(
        &self,
        folder: &str,
        wanted: impl Fn(&str) -> bool,
    ) -> anyhow::Result<Option<PathBuf>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.data().join(folder))? {
            let entry = entry?;
            if wanted(&entry.file_name().to_string_lossy()) {
                found.push(entry.path());
            }
        }
        Ok(found.into_iter().max())
    }

    /// The folder of its QEMU.
    ///
    /// # Errors
    /// When it has none.
    pub fn qemu(&self) -> anyhow::Result<PathBuf> {
        self.last("tools", |name| name.starts_with("qemu-"))?
            .context("there is no QEMU: run `make bench`, which prepares it")
    }

    /// A folder for a program's own files.
    pub fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// The program, ready for arguments.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("CENOTE_DATA", self.data())
            .env("CENOTE_RUNTIME", self.folder.path().join("run"));
        command
    }

    /// Runs the program to its end.
    ///
    /// # Errors
    /// When it fails.
    pub fn measure<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<(Cost, Output)> {
        cost::of(&mut self.command(arguments))
    }

    /// Runs the program to its end and answers what it printed.
    ///
    /// # Errors
    /// When it fails.
    pub fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> anyhow::Result<String> {
        let (_, output) = self.measure(arguments)?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Starts a container that sleeps until it is dropped.
    ///
    /// # Errors
    /// When it does not start.
    pub fn sleeper(&self, name: &str, flags: &[&str], image: &str) -> anyhow::Result<Sleeper<'_>> {
        let mut arguments = vec!["run", "-d", "-q", "--network", "none", "--name", name];
        arguments.extend(flags);
        arguments.extend([image, "sleep", "1000000"]);
        self.run(&arguments)?;
        Ok(Sleeper {
            host: self,
            name: name.to_owned(),
        })
    }
}

/// A running container with nothing to do.
#[derive(Debug)]
pub struct Sleeper<'a> {
    host: &'a Host,
    name: String,
}

impl Sleeper<'_> {
    /// `cenote exec` of `arguments` in the container, ready to run.
    pub fn exec(&self, arguments: &[&str]) -> Command {
        self.host
            .command(&[&["exec", &self.name], arguments].concat())
    }

    /// What a shell in the container prints when it runs `script`.
    ///
    /// # Errors
    /// When the script fails.
    pub fn shell(&self, script: &str) -> anyhow::Result<String> {
        let (_, output) = cost::of(&mut self.exec(&["sh", "-c", script]))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// What a shell in the guest itself prints when it runs `script`.
    ///
    /// # Errors
    /// When the script fails.
    pub fn vm(&self, script: &str) -> anyhow::Result<String> {
        self.host
            .run(&["exec", "--vm", &self.name, "sh", "-c", script])
    }

    /// The process that owns the machine.
    ///
    /// # Errors
    /// When `inspect` does not name it.
    pub fn monitor(&self) -> anyhow::Result<u32> {
        let details: Value = serde_json::from_str(&self.host.run(&["inspect", &self.name])?)?;
        let monitor = find(&details, "monitor").and_then(Value::as_u64);
        monitor
            .and_then(|id| u32::try_from(id).ok())
            .context("`cenote inspect` names no monitor")
    }

    /// The QEMU process.
    ///
    /// # Errors
    /// When the monitor has no such child.
    pub fn qemu(&self) -> anyhow::Result<u32> {
        let monitor = self.monitor()?;
        for child in children(monitor)? {
            let line = fs::read(format!("/proc/{child}/cmdline"))?;
            if line
                .windows(b"-kernel".len())
                .any(|part| part == b"-kernel")
            {
                return Ok(child);
            }
        }
        bail!("the monitor {monitor} has no QEMU")
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.host.run(&["rm", "-f", &self.name]) {
            eprintln!("cannot remove the container {}: {error:#}", self.name);
        }
    }
}

/// The first value that is called `name`, however deep it is.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    match value {
        Value::Object(fields) => fields
            .get(name)
            .or_else(|| fields.values().find_map(|inner| find(inner, name))),
        Value::Array(items) => items.iter().find_map(|inner| find(inner, name)),
        _ => None,
    }
}

/// The children of all threads of a process.
fn children(process: u32) -> anyhow::Result<Vec<u32>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let list = fs::read_to_string(thread?.path().join("children"))?;
        found.extend(
            list.split_whitespace()
                .filter_map(|id| id.parse::<u32>().ok()),
        );
    }
    Ok(found)
}

/// Makes `into` a folder with a link to each entry of `from`: what is prepared is shared, what is added is ours.
fn link_entries(from: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir(into)?;
    let entries = fs::read_dir(from)
        .with_context(|| format!("cannot read {}: run `make bench`", from.display()))?;
    for entry in entries {
        let name = entry?.file_name();
        if !name.as_encoded_bytes().starts_with(b".") {
            symlink(from.join(&name), into.join(&name))?;
        }
    }
    Ok(())
}

/// A program of this crate, which was built beside this one.
///
/// # Errors
/// When it was not.
pub fn built_beside(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::current_exe()?.with_file_name(name);
    ensure!(
        path.is_file(),
        "cannot find {}: run `cargo build --release -p cenote-bench`",
        path.display()
    );
    Ok(path)
}

/// `CENOTE_BIN`, or the program built beside this one.
fn program() -> anyhow::Result<PathBuf> {
    let path = match env::var_os("CENOTE_BIN") {
        Some(path) => PathBuf::from(path),
        None => env::current_exe()?.with_file_name("cenote"),
    };
    fs::canonicalize(&path).with_context(|| {
        format!(
            "cannot find {}: run `cargo build --release -p cenote-cli`",
            path.display()
        )
    })
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;
