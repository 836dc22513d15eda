//! The conditions of a measurement: machine, kernel, revision.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

/// What is true of this machine and this tree of sources, by name.
pub fn conditions() -> BTreeMap<String, String> {
    let load = read("/proc/loadavg")
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned();
    [
        ("processor", field("/proc/cpuinfo", "model name")),
        (
            "processors",
            thread::available_parallelism()
                .map_or(0, usize::from)
                .to_string(),
        ),
        ("memory", field("/proc/meminfo", "MemTotal")),
        (
            "host kernel",
            read("/proc/sys/kernel/osrelease").trim().to_owned(),
        ),
        ("load before", load),
        ("revision", revision()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The value after the first `name:` in a file of `/proc`.
fn field(path: &str, name: &str) -> String {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line
        .and_then(|line| line.split_once(':'))
        .map(|(_, value)| value.trim());
    value.unwrap_or("unknown").to_owned()
}

/// The commit of the sources, with `-dirty` when they differ from it.
fn revision() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let describe = Command::new("git")
        .current_dir(if folder.is_dir() {
            folder
        } else {
            Path::new(".")
        })
        .args(["describe", "--always", "--dirty", "--abbrev=12"])
        .output();
    let text = describe
        .ok()
        .filter(|output| output.status.success())
        .map(|output| output.stdout);
    text.map_or("unknown".to_owned(), |text| {
        String::from_utf8_lossy(&text).trim().to_owned()
    })
}
