//! Fills a new volume with what the image has where it is mounted, as podman does: content, owners, modes, times,
//! extended attributes, links.

use std::collections::HashMap;
use std::fs::{self, DirEntry, File, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use cenote_protocol::Owner;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, Timespec, Timestamps, XattrFlags, lgetxattr, llistxattr,
    lsetxattr, mknodat, utimensat,
};
use rustix::io::Errno;

use crate::log;

/// The largest value and list of extended attributes (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX` of `linux/limits.h`).
const MAX_XATTR: usize = 64 << 10;

/// Copies the directory `from` of the image to the empty directory `to`. Without such a directory in the image, `to`
/// becomes `owner`'s. One that is not empty stays as it is.
///
/// # Errors
/// What reading or writing gives; what was copied before is removed again.
pub fn fill(from: &Path, to: &Path, owner: Option<Owner>) -> io::Result<()> {
    if fs::read_dir(to)?.next().is_some() {
        return Ok(());
    }
    match fs::symlink_metadata(from) {
        Ok(found) if found.is_dir() => copy_tree(from, &found, to).inspect_err(|_| empty(to)),
        _ => match owner {
            Some(owner) => lchown(to, Some(owner.uid), Some(owner.gid)),
            None => Ok(()),
        },
    }
}

/// Removes what is in a directory, as far as that goes.
fn empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
}

fn copy_tree(from: &Path, found: &Metadata, to: &Path) -> io::Result<()> {
    // Files of several names by number, with the first copy.
    let mut links: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut waiting = vec![(from.to_owned(), to.to_owned())];
    let mut directories = vec![(from.to_owned(), to.to_owned(), found.clone())];
    while let Some((from, to)) = waiting.pop() {
        for entry in fs::read_dir(&from)? {
            let entry = entry?;
            let found = entry.metadata()?;
            let copy = to.join(entry.file_name());
            if found.is_dir() {
                fs::create_dir(&copy)?;
                waiting.push((entry.path(), copy.clone()));
                directories.push((entry.path(), copy, found));
                continue;
            }
            if found.nlink() > 1 {
                let first = links.entry((found.dev(), found.ino()));
                if let std::collections::hash_map::Entry::Occupied(first) = &first {
                    fs::hard_link(first.get(), &copy)?;
                    continue;
                }
                first.or_insert_with(|| copy.clone());
            }
            if copy_entry(&entry, &found, &copy)? {
                copy_properties(&entry.path(), &found, &copy)?;
            }
        }
    }
    // Innermost first, when nothing changes in them any more.
    for (from, to, found) in directories.iter().rev() {
        copy_properties(from, found, to)?;
    }
    Ok(())
}

/// Copies one entry that is no directory; whether it could be made here.
fn copy_entry(entry: &DirEntry, found: &Metadata, copy: &Path) -> io::Result<bool> {
    let kind = found.file_type();
    if kind.is_file() {
        io::copy(&mut File::open(entry.path())?, &mut File::create_new(copy)?)?;
    } else if kind.is_symlink() {
        symlink(fs::read_link(entry.path())?, copy)?;
    } else {
        let kind = match () {
            () if kind.is_fifo() => FileType::Fifo,
            () if kind.is_socket() => FileType::Socket,
            () if kind.is_char_device() => FileType::CharacterDevice,
            () => FileType::BlockDevice,
        };
        match mknodat(CWD, copy, kind, Mode::RUSR | Mode::WUSR, found.rdev()) {
            // The host's user may not make devices.
            Err(Errno::PERM) => {
                log::line(format_args!("not copied to a volume: {}", copy.display()));
                return Ok(false);
            }
            made => made?,
        }
    }
    Ok(true)
}

fn copy_properties(from: &Path, found: &Metadata, to: &Path) -> io::Result<()> {
    // Before the mode and the attributes, which a change of the owner may clear.
    lchown(to, Some(found.uid()), Some(found.gid()))?;
    copy_attributes(from, to)?;
    if !found.is_symlink() {
        fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    }
    let time = |tv_sec, tv_nsec| Timespec { tv_sec, tv_nsec };
    let times = Timestamps {
        last_access: time(found.atime(), found.atime_nsec()),
        last_modification: time(found.mtime(), found.mtime_nsec()),
    };
    Ok(utimensat(CWD, to, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn copy_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let mut names = vec![0; MAX_XATTR];
    let length = match llistxattr(from, &mut names) {
        Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let mut value = vec![0; MAX_XATTR];
    for name in names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
    {
        let length = lgetxattr(from, name, &mut value)?;
        match lsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            // The host's file system has no such attribute, or its user may not set it.
            Err(Errno::OPNOTSUPP | Errno::PERM) => {}
            set => set?,
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "fill_test.rs"]
mod tests;
