//! The disk of a container's writable layer: a sparse file with an empty ext4.
//!
//! Formatting once for each size and copying the few blocks that are not holes makes the next disk nearly free.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, SeekFrom};

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

/// Makes an empty disk of `size` bytes at `path`, by way of a template in the folder `templates`.
pub(crate) fn make(templates: &Path, path: &Path, size: u64) -> Result<(), Error> {
    if !(MIN_SIZE..=MAX_SIZE).contains(&size) {
        return Err(Error::Size(size));
    }
    let template = templates.join(format!("ext4-{size}"));
    if !template.exists() {
        fs::create_dir_all(templates).map_err(at(templates))?;
        format(&template, size)?;
    }
    copy_sparse(&template, path).map_err(at(path))
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
    match rustix::fs::linkat(CWD, path, CWD, template, AtFlags::SYMLINK_FOLLOW) {
        // Somebody was faster, with the same content.
        Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
        Err(error) => Err(at(template)(error.into())),
    }
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
        if rustix::fs::copy_file_range(source, Some(&mut read), target, Some(&mut written), length)?
            == 0
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "disk_test.rs"]
mod tests;
