//! The disk of a container's writable layer: a sparse file with an empty ext4.
//!
//! Formatting once for each size and copying the few blocks that are not holes makes the next disk nearly free.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, SeekFrom};

use crate::paths::{DISKS, Paths};

/// Below this ext4 has no room for its own structures and a journal.
const MIN_SIZE: u64 = 16 << 20;
/// Beyond this ext4 with 4 KiB blocks and 32-bit block numbers cannot go.
const MAX_SIZE: u64 = 16 << 40;

/// Why there is no disk.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The size is out of range.
    #[error("a disk of {0} bytes is not possible: choose between 16 MiB and 16 TiB")]
    Size(u64),
    /// The formatting program is missing.
    #[error("cannot run mke2fs: {0}; install the package e2fsprogs")]
    Missing(io::Error),
    /// The formatting program failed.
    #[error("mke2fs failed: {0}")]
    Format(String),
    /// A file could not be made.
    #[error("cannot make the disk {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// Makes an empty disk of `size` bytes at `path`.
pub(crate) fn make(paths: &Paths, path: &Path, size: u64) -> Result<(), Error> {
    copy_sparse(&template(paths, size)?, path).map_err(at(path))
}

/// An empty disk of `size` bytes that others are copied from: lent, found or made.
pub(crate) fn template(paths: &Paths, size: u64) -> Result<PathBuf, Error> {
    if !(MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Err(Error::Size(size));
    }
    let name = format!("ext4-{size}");
    if let Some(lent) = paths.lent(&Path::new(DISKS).join(&name)) {
        return Ok(lent);
    }
    let templates = paths.disks();
    let template = templates.join(name);
    if !template.exists() {
        fs::create_dir_all(&templates).map_err(at(&templates))?;
        format(&template, size)?;
    }
    Ok(template)
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// Formats a file without a name and then names it: whoever comes at the same time finds a whole template or none, and
/// nothing is left of a process that is killed.
fn format(template: &Path, size: u64) -> Result<(), Error> {
    let folder = template.parent().unwrap_or(Path::new("."));
    let unnamed = tempfile::tempfile_in(folder).map_err(at(folder))?;
    unnamed.set_len(size).map_err(at(template))?;
    let path = format!("/proc/{}/fd/{}", std::process::id(), unnamed.as_raw_fd());
    let output = Command::new("mke2fs")
        .env("PATH", search_path())
        .args([
            "-q", "-F", "-t", "ext4", "-m", "0", "-I", "256", "-J", "size=8",
        ])
        .args([
            "-E",
            "lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0",
        ])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::Missing)?;
    if !output.status.success() {
        return Err(Error::Format(
            String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        ));
    }
    match name(&unnamed, template) {
        // Somebody was faster, with the same content.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named.map_err(at(template)),
    }
}

/// Gives a file that was made without a name one.
pub(crate) fn name(file: &File, path: &Path) -> io::Result<()> {
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?;
    Ok(())
}

/// The search path with the folders that hold system programs, which a user's own path often leaves out.
fn search_path() -> String {
    let own = std::env::var("PATH").unwrap_or_default();
    format!("{own}:/usr/sbin:/sbin")
}

/// Copies data and keeps holes.
fn copy_sparse(from: &Path, to: &Path) -> io::Result<()> {
    let source = File::open(from)?;
    let target = File::create_new(to)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut position = 0;
    while position < length {
        let data = match rustix::fs::seek(&source, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let hole = rustix::fs::seek(&source, SeekFrom::Hole(data))?;
        copy_range(&source, &target, data, hole)?;
        position = hole;
    }
    Ok(())
}

fn copy_range(source: &File, target: &File, from: u64, to: u64) -> io::Result<()> {
    let (mut read, mut written) = (from, from);
    while read < to {
        let length = usize::try_from(to - read).unwrap_or(usize::MAX);
        match rustix::fs::copy_file_range(
            source,
            Some(&mut read),
            target,
            Some(&mut written),
            length,
        ) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {}
            // A lent template lies in a file system of another kind.
            Err(rustix::io::Errno::XDEV) => return copy_bytes(source, target, read, to),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn copy_bytes(source: &File, target: &File, from: u64, to: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    let mut position = from;
    while position < to {
        let left = usize::try_from(to - position).unwrap_or(usize::MAX);
        let part = left.min(buffer.len());
        source.read_exact_at(&mut buffer[..part], position)?;
        target.write_all_at(&buffer[..part], position)?;
        position += part as u64;
    }
    Ok(())
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
