//! Removes folders whatever a container has made in them: deeper than there are descriptors or than a path may be long,
//! and closed to their owner.

use std::fs::{self, DirEntry, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

/// Removes the folder `top` with all that is in it, if it is there.
///
/// What lies deep is moved up before it is removed, so that no path becomes long and two folders are open at most.
pub(crate) fn remove_if_there(top: &Path) -> io::Result<()> {
    match fs::symlink_metadata(top) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A link, and not what it points at.
        Ok(found) if !found.is_dir() => return fs::remove_file(top),
        found => found?,
    };
    open(top)?;
    let mut moved = 0;
    loop {
        let mut empty = true;
        for entry in fs::read_dir(top)? {
            let entry = entry?;
            empty = false;
            if !entry.file_type()?.is_dir() {
                fs::remove_file(entry.path())?;
                continue;
            }
            open(&entry.path())?;
            for inner in fs::read_dir(entry.path())? {
                let inner = inner?;
                match inner.file_type()?.is_dir() {
                    true => move_up(&inner, top, &mut moved)?,
                    false => fs::remove_file(inner.path())?,
                }
            }
            fs::remove_dir(entry.path())?;
        }
        if empty {
            return fs::remove_dir(top);
        }
    }
}

/// Moves a folder to `top`, by the first number that is free there from `moved` on.
fn move_up(folder: &DirEntry, top: &Path, moved: &mut u64) -> io::Result<()> {
    // A folder that goes elsewhere must be open to writing itself.
    open(&folder.path())?;
    loop {
        *moved += 1;
        let to = top.join(moved.to_string());
        match rustix::fs::renameat_with(CWD, folder.path(), CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => {}
            renamed => return Ok(renamed?),
        }
    }
}

/// Lets the owner of a folder list and change it.
fn open(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o700))
}

#[cfg(test)]
#[path = "removal_test.rs"]
mod tests;
