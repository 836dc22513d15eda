//! Where a mount goes: a path in the container whose symbolic links lead nowhere but within the container's root, and
//! which is made if it is missing.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use rustix::io::Errno;

/// How many symbolic links one path may lead through (`MAXSYMLINKS` of the kernel).
const MAX_LINKS: usize = 40;

/// The place below `root` that `target` names for processes whose root it is, without symbolic links in it. What does
/// not exist is taken as it is written, behind a link too: so it can be made there.
///
/// # Errors
/// `LOOP` for links that go round, `INVAL` for the root itself, and what looking at the path gives.
pub fn resolve(root: &Path, target: &Path) -> Result<PathBuf, Errno> {
    let mut left: VecDeque<OsString> = names(target).collect();
    let mut found: Vec<OsString> = Vec::new();
    let mut links = 0;
    while let Some(name) = left.pop_front() {
        if name == ".." {
            found.pop();
            continue;
        }
        found.push(name);
        let here = below(root, &found);
        let Some(link) = link_at(&here)? else {
            continue;
        };
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        found.pop();
        if link.is_absolute() {
            found.clear();
        }
        for name in names(&link).rev() {
            left.push_front(name);
        }
    }
    match found.is_empty() {
        true => Err(Errno::INVAL),
        false => Ok(below(root, &found)),
    }
}

fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components()
        .filter_map(|component| match component {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            _ => None,
        })
        .collect::<Vec<_>>()
        .into_iter()
}

fn below(root: &Path, names: &[OsString]) -> PathBuf {
    root.join(names.iter().collect::<PathBuf>())
}

/// Where the link at `path` leads, if there is one.
fn link_at(path: &Path) -> Result<Option<PathBuf>, Errno> {
    match rustix::fs::readlink(path, Vec::new()) {
        Ok(link) => Ok(Some(PathBuf::from(
            <OsString as std::os::unix::ffi::OsStringExt>::from_vec(link.into_bytes()),
        ))),
        // Something else, or nothing.
        Err(Errno::INVAL | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Makes what is missing at `path`: a directory, or an empty file in its directory.
///
/// # Errors
/// When a file is in the way, or the file system refuses.
pub fn make(path: &Path, directory: bool) -> io::Result<()> {
    if directory {
        return fs::create_dir_all(path);
    }
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    File::create_new(path).map(drop)
}

#[cfg(test)]
#[path = "mount_point_test.rs"]
mod tests;
