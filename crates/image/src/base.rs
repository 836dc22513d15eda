//! The base image: a static busybox, a link for each of its programs, and the few files that programs expect.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};
use crate::import::ImportOptions;
use crate::reference::Reference;
use crate::store::{Image, Store};

/// Where the program is in the image.
const PROGRAM: &str = "bin/busybox";
/// Folders and their permissions, parents first.
const FOLDERS: [(&str, u32); 22] = [
    ("./", 0o755),
    ("bin/", 0o755),
    ("dev/", 0o755),
    ("etc/", 0o755),
    ("home/", 0o755),
    ("lib/", 0o755),
    ("mnt/", 0o755),
    ("opt/", 0o755),
    ("proc/", 0o555),
    ("root/", 0o700),
    ("run/", 0o755),
    ("sbin/", 0o755),
    ("srv/", 0o755),
    ("sys/", 0o555),
    ("tmp/", 0o1777),
    ("usr/", 0o755),
    ("usr/bin/", 0o755),
    ("usr/sbin/", 0o755),
    ("var/", 0o755),
    ("var/log/", 0o755),
    ("var/spool/", 0o755),
    ("var/tmp/", 0o1777),
];
const FILES: [(&str, &str); 3] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    (
        "etc/group",
        "root:x:0:\ndaemon:x:1:\ntty:x:5:\ndisk:x:6:\nkvm:x:36:\nusers:x:100:\nnogroup:x:65534:\n",
    ),
    ("etc/shells", "/bin/sh\n/bin/ash\n"),
];
/// A busybox has some 400 programs; a longer list is not one.
const MAX_APPLETS: usize = 4096;
/// Debian's is 2 MB. The whole image is made in memory.
const MAX_PROGRAM: u64 = 64 << 20;

impl Store {
    /// Makes an image out of a static busybox of this machine's architecture: `/bin/busybox`, a hard link at each place
    /// that `busybox --list-full` names, users and groups, and a shell as its command.
    ///
    /// The same program gives the same image: times are the program's own.
    pub fn build_base(&self, busybox: &Path, name: &Reference) -> Result<Image> {
        let metadata = fs::metadata(busybox).map_err(Error::io("read", busybox))?;
        if metadata.len() > MAX_PROGRAM {
            return Err(unusable(
                busybox,
                format!("{} bytes are too many", metadata.len()),
            ));
        }
        let program = fs::read(busybox).map_err(Error::io("read", busybox))?;
        let applets = applets(busybox)?;
        let mtime = u64::try_from(metadata.mtime()).unwrap_or(0);
        let archive = archive(&program, &applets, mtime)
            .map_err(|error| unusable(busybox, error.to_string()))?;
        let options = ImportOptions {
            cmd: Some(vec!["sh".to_owned()]),
            env: vec![
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
            ],
            comment: Some(format!("busybox and {} links to it", applets.len())),
            created: Some(rfc3339(mtime)),
            ..ImportOptions::default()
        };
        self.import(&archive[..], name, &options)
    }
}

fn unusable(busybox: &Path, problem: String) -> Error {
    Error::Busybox {
        path: busybox.to_owned(),
        problem,
    }
}

/// Where busybox wants links to itself, without leading `/`, sorted.
fn applets(busybox: &Path) -> Result<Vec<String>> {
    let output = Command::new(busybox)
        .arg("--list-full")
        .output()
        .map_err(Error::io("run", busybox))?;
    if !output.status.success() {
        return Err(unusable(
            busybox,
            format!("`--list-full` ends with {}", output.status),
        ));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let is_program = |path: &&str| {
        ["bin/", "sbin/", "usr/bin/", "usr/sbin/"]
            .iter()
            .any(|folder| {
                path.strip_prefix(folder).is_some_and(|name| {
                    !name.is_empty() && !name.contains('/') && name != "busybox"
                })
            })
    };
    let mut applets: Vec<String> = text.lines().filter(is_program).map(str::to_owned).collect();
    applets.sort_unstable();
    applets.dedup();
    match applets.len() {
        1..=MAX_APPLETS => Ok(applets),
        count => Err(unusable(
            busybox,
            format!("`--list-full` names {count} programs"),
        )),
    }
}

fn archive(program: &[u8], applets: &[String], mtime: u64) -> io::Result<Vec<u8>> {
    let mut archive = Builder::new(Vec::new());
    let mut add = |kind: EntryType, path: &str, mode: u32, link: Option<&str>, data: &[u8]| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(data.len() as u64);
        match link {
            Some(target) => archive.append_link(&mut header, path, target),
            None => archive.append_data(&mut header, path, data),
        }
    };
    for (path, mode) in FOLDERS {
        add(EntryType::Directory, path, mode, None, b"")?;
    }
    add(EntryType::Regular, PROGRAM, 0o755, None, program)?;
    for applet in applets {
        add(EntryType::Link, applet, 0o755, Some(PROGRAM), b"")?;
    }
    for (path, content) in FILES {
        add(EntryType::Regular, path, 0o644, None, content.as_bytes())?;
    }
    archive.into_inner()
}

/// Seconds since the epoch as RFC 3339 in UTC, with the civil calendar in eras of 400 years that begin in March.
fn rfc3339(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    /// Days from 0000-03-01 to 1970-01-01, and days of 400 years.
    const EPOCH: u64 = 719_468;
    const ERA: u64 = 146_097;
    let (days, time) = (seconds / DAY + EPOCH, seconds % DAY);
    let (era, day_of_era) = (days / ERA, days % ERA);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
#[path = "base_test.rs"]
mod tests;
