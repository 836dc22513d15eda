//! Has the kernel look anew at names of a share that others have changed on the host.
//!
//! FUSE lets a server tell its client of changes; virtio-fs has no way for that, so the agent makes the client ask. A
//! system call that makes a name looks it up with `LOOKUP_EXCL`, upon which the kernel asks the server even if it still
//! believes what it knows: a file's new attributes are taken over, and a name that is gone or means another file is
//! forgotten. linkat(2) from another mount does just this and then fails: EEXIST for a name that is there, EXDEV otherwise.
//! Opening a file then makes the server say whether the data that the kernel has of it are still right.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use cenote_protocol::ChangedDirectory;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;

/// Nothing that the container puts into the share leads anywhere but below it.
const STRICT: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// Looks at a directory's entries anew. `share` is the shared directory, on a mount that the container cannot reach.
/// Whether the directory was found.
pub fn refresh(share: BorrowedFd<'_>, change: &ChangedDirectory) -> bool {
    let path = Path::new(std::ffi::OsStr::from_bytes(&change.path));
    let Some(directory) = find(share, path, change.inode) else {
        return false;
    };
    for name in &change.names {
        look(
            directory.as_fd(),
            Path::new(std::ffi::OsStr::from_bytes(name)),
        );
    }
    if change.itself {
        // A directory that went away meanwhile needs no more.
        let _ = rustix::fs::statx(
            &directory,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC,
            StatxFlags::BASIC_STATS,
        );
    }
    true
}

/// Opens the directory at `path`. What is known of the way to it may be out of date: then it is looked at anew.
fn find(share: BorrowedFd<'_>, path: &Path, inode: u64) -> Option<OwnedFd> {
    if path.as_os_str().is_empty() {
        return open(share, Path::new(".")).ok();
    }
    if let Ok(found) = open(share, path)
        && is(&found, inode)
    {
        return Some(found);
    }
    let mut at = open(share, Path::new(".")).ok()?;
    for name in path {
        look(at.as_fd(), Path::new(name));
        at = open(at.as_fd(), Path::new(name)).ok()?;
    }
    is(&at, inode).then_some(at)
}

fn open(at: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(at, path, flags, Mode::empty(), STRICT)
}

fn is(directory: &OwnedFd, inode: u64) -> bool {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    rustix::fs::statx(directory, c"", flags, StatxFlags::INO)
        .is_ok_and(|found| found.stx_ino == inode)
}

/// Has the kernel ask for one name, and for the data of a file.
fn look(directory: BorrowedFd<'_>, name: &Path) {
    let mut parts = name.components();
    if let (Some(Component::Normal(_)), None) = (parts.next(), parts.next()) {
        // It always fails; see above.
        let _ = rustix::fs::linkat(CWD, c"/", directory, name, AtFlags::empty());
        // Nor does it matter if there is no file any more, or none that can be opened: nobody reads it either.
        let _ = open_and_close(directory, name);
    }
}

/// Opens a regular file, and nothing else: that could do something.
fn open_and_close(directory: BorrowedFd<'_>, name: &Path) -> Result<(), Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat2(directory, name, flags, Mode::empty(), STRICT)?;
    let status = rustix::fs::statx(
        &file,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
        StatxFlags::TYPE,
    )?;
    if FileType::from_raw_mode(status.stx_mode.into()) == FileType::RegularFile {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    }
    Ok(())
}
