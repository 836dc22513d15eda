//! The floor of a boot: the same machine with the same kernel and nothing in it.
//!
//! Its command line is that of a running sandbox's QEMU, as the kernel shows it, with every device but the console taken out
//! and another initramfs put in: one static program that powers the machine off.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::Context;

/// Options for the devices of the sandbox, for what stands behind them, and for QEMU's own monitor.
const DEVICES: [&str; 6] = [
    "-device",
    "-netdev",
    "-blockdev",
    "-chardev",
    "-object",
    "-mon",
];
/// Of those, what the console and the guest's memory need.
const KEPT: [&str; 3] = ["isa-serial,", "stdio,", "memory-backend-memfd,"];

/// What a reader of the figures wants to know of the machine: everything that makes it fast or slow.
const TOLD: [&str; 6] = ["-machine", "-accel", "-cpu", "-smp", "-m", "-append"];

/// A machine with nothing in it.
#[derive(Debug)]
pub struct Floor {
    words: Vec<OsString>,
}

impl Floor {
    /// The machine of the process `qemu` without devices, with `initramfs`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn below(qemu: u32, initramfs: &Path) -> anyhow::Result<Self> {
        let line = fs::read(format!("/proc/{qemu}/cmdline")).context("QEMU has ended")?;
        let words = line
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty());
        let words: Vec<OsString> = words
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        Ok(Self {
            words: without_devices(&words, initramfs.as_os_str()),
        })
    }

    /// The command that boots it; it ends when the guest powers off.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).stdin(Stdio::null());
        command
    }

    /// The options that make the machine fast or slow.
    pub fn machine(&self) -> String {
        let pairs = self
            .words
            .windows(2)
            .filter(|pair| TOLD.iter().any(|told| pair[0] == *told));
        let told: Vec<String> = pairs
            .map(|pair| pair.join(OsStr::new(" ")).to_string_lossy().into_owned())
            .collect();
        told.join(" ")
    }
}

fn without_devices(words: &[OsString], initramfs: &OsStr) -> Vec<OsString> {
    let mut bare = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let takes_device = DEVICES.iter().any(|device| word == device);
        if !takes_device && word != "-initrd" {
            bare.push(word.clone());
            continue;
        }
        let Some(value) = words.next() else { break };
        let kept = KEPT
            .iter()
            .any(|kept| value.as_encoded_bytes().starts_with(kept.as_bytes()));
        if word == "-initrd" {
            bare.extend([word.clone(), initramfs.to_owned()]);
        } else if kept {
            bare.extend([word.clone(), value.clone()]);
        }
    }
    bare
}

/// A newc cpio archive of programs.
#[derive(Debug, Default)]
pub struct Archive(Vec<u8>);

impl Archive {
    /// Adds the program `content` as `/name`.
    pub fn add(&mut self, name: &str, content: &[u8]) {
        entry(&mut self.0, name, 0o100_755, content);
    }

    /// The whole archive.
    pub fn end(mut self) -> Vec<u8> {
        entry(&mut self.0, "TRAILER!!!", 0, &[]);
        self.0
    }
}

/// A newc cpio archive whose only file is the program `init` as `/init`.
pub fn initramfs(init: &[u8]) -> Vec<u8> {
    let mut archive = Archive::default();
    archive.add("init", init);
    archive.end()
}

/// Appends one entry: 13 numbers of 8 hexadecimal digits after the magic, the name, the content, both padded to 4 bytes.
fn entry(archive: &mut Vec<u8>, name: &str, mode: usize, content: &[u8]) {
    let numbers = [
        0,
        mode,
        0,
        0,
        1,
        0,
        content.len(),
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ];
    archive.extend(b"070701");
    for number in numbers {
        archive.extend(format!("{number:08x}").as_bytes());
    }
    archive.extend(name.as_bytes());
    archive.push(0);
    archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
#[path = "floor_test.rs"]
mod tests;
