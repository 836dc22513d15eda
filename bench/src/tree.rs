//! The input of the conversion: archives like those of a Debian image, made from this host's own files.
//!
//! The files of a few folders in the order of their names, until a size is reached: programs, libraries, documentation, Perl
//! modules, links. Times and owners are fixed, so that a host gives the same bytes as long as its packages stay the same.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::cost;

/// From where files are taken, half of them from each.
pub const FOLDERS: [&str; 2] = ["/usr/lib", "/usr/share"];

/// Files to pack, and what they are like.
#[derive(Debug, Default)]
pub struct Tree {
    /// Paths in order; a folder comes before what is in it.
    pub paths: Vec<PathBuf>,
    /// Regular files among them.
    pub files: usize,
    /// Bytes in regular files.
    pub bytes: u64,
}

impl Tree {
    /// Takes files of [`FOLDERS`] until there are `bytes` from each half.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub fn of_host(bytes: u64) -> anyhow::Result<Self> {
        let mut tree = Self::default();
        let share = bytes / FOLDERS.len() as u64;
        for (index, folder) in FOLDERS.iter().enumerate() {
            tree.add(Path::new(folder), share * (index as u64 + 1))?;
        }
        Ok(tree)
    }

    fn add(&mut self, path: &Path, limit: u64) -> anyhow::Result<()> {
        if self.bytes >= limit {
            return Ok(());
        }
        let meta = fs::symlink_metadata(path)
            .with_context(|| format!("cannot read {}", path.display()))?;
        self.paths.push(path.to_owned());
        if meta.is_file() {
            self.files += 1;
            self.bytes += meta.len();
        }
        if meta.is_dir() {
            let entries =
                fs::read_dir(path).with_context(|| format!("cannot read {}", path.display()))?;
            let mut entries = entries
                .map(|entry| Ok(entry?.path()))
                .collect::<io::Result<Vec<_>>>()?;
            entries.sort();
            for entry in entries {
                self.add(&entry, limit)?;
            }
        }
        Ok(())
    }

    /// Packs the tree into `parts` gzip-compressed archives of about the same number of bytes, in `folder`.
    ///
    /// # Errors
    /// When tar or gzip fail.
    pub fn pack(&self, folder: &Path, parts: usize) -> anyhow::Result<Vec<PathBuf>> {
        let mut lists = vec![Vec::new(); parts];
        let mut seen = 0;
        for path in &self.paths {
            let part = usize::try_from(seen * parts as u64 / self.bytes.max(1))?.min(parts - 1);
            lists[part].extend(path.as_os_str().as_bytes());
            lists[part].push(0);
            let meta = fs::symlink_metadata(path)?;
            seen += if meta.is_file() { meta.len() } else { 0 };
        }
        let pack =
            |(part, list): (usize, &Vec<u8>)| pack(folder, &format!("{part}-of-{parts}"), list);
        lists.iter().enumerate().map(pack).collect()
    }
}

fn pack(folder: &Path, name: &str, list: &[u8]) -> anyhow::Result<PathBuf> {
    let names = folder.join(format!("{name}.list"));
    File::create(&names)?.write_all(list)?;
    let archive = folder.join(format!("{name}.tar.gz"));
    let script = "tar --create --null --no-recursion --files-from=\"$0\" --format=pax \
                  --pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime --mtime=@1700000000 \
                  --owner=0 --group=0 --numeric-owner 2>/dev/null | gzip -n -6 >\"$1\"";
    cost::of(
        Command::new("sh")
            .args(["-c", script])
            .arg(&names)
            .arg(&archive),
    )?;
    Ok(archive)
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
