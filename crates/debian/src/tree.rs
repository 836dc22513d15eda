//! A folder into which an archive's entries are written, and nothing outside it.
//!
//! Every parent is opened with `openat2(RESOLVE_IN_ROOT)`: symbolic links that earlier entries made, absolute ones
//! too, resolve inside the folder. Owners and set-user-id bits are not restored: what is unpacked belongs to the caller.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// A path inside the tree: relative, at least one component, no `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inside(PathBuf);

impl Inside {
    /// Takes an archive's name for a path; `None` if it leaves the tree. The tree itself (`.`) is an empty path.
    pub(crate) fn new(name: &Path) -> Option<Self> {
        let mut path = PathBuf::new();
        for component in name.components() {
            match component {
                Component::Normal(part) => path.push(part),
                Component::CurDir => {}
                Component::RootDir | Component::ParentDir | Component::Prefix(_) => return None,
            }
        }
        Some(Self(path))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    fn split(&self) -> io::Result<(&Path, &std::ffi::OsStr)> {
        match (self.0.parent(), self.0.file_name()) {
            (Some(parent), Some(name)) => Ok((parent, name)),
            _ => Err(Errno::ISDIR.into()),
        }
    }
}

/// The folder being filled.
#[derive(Debug)]
pub(crate) struct Tree {
    root: OwnedFd,
}

impl Tree {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            root: rustix::fs::open(path, flags, Mode::empty())?,
        })
    }

    /// Makes a directory and the missing ones above it.
    pub(crate) fn directory(&self, path: &Inside) -> io::Result<()> {
        self.open_directory(path.path()).map(drop)
    }

    /// Writes a regular file, in place of what had its name; executable if `executable`.
    pub(crate) fn file(
        &self,
        path: &Inside,
        executable: bool,
        content: &mut impl Read,
    ) -> io::Result<u64> {
        let (parent, name) = path.split()?;
        let parent = self.open_directory(parent)?;
        replace(&parent, name)?;
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
        io::copy(
            content,
            &mut File::from(rustix::fs::openat(parent, name, flags, mode)?),
        )
    }

    /// Makes a symbolic link; its target is not interpreted here.
    pub(crate) fn symlink(&self, path: &Inside, target: &Path) -> io::Result<()> {
        let (parent, name) = path.split()?;
        let parent = self.open_directory(parent)?;
        replace(&parent, name)?;
        Ok(rustix::fs::symlinkat(target, parent, name)?)
    }

    /// Gives a file that the tree already holds a second name.
    pub(crate) fn hard_link(&self, path: &Inside, existing: &Inside) -> io::Result<()> {
        let (parent, name) = path.split()?;
        let (old_parent, old_name) = existing.split()?;
        let old_parent = self.open_directory(old_parent)?;
        let parent = self.open_directory(parent)?;
        replace(&parent, name)?;
        Ok(rustix::fs::linkat(
            old_parent,
            old_name,
            parent,
            name,
            AtFlags::empty(),
        )?)
    }

    /// Opens `path` as a directory inside the tree, making what is missing.
    fn open_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let mut made = PathBuf::new();
        for part in path {
            let parent = self.resolve(&made)?;
            match rustix::fs::mkdirat(parent, part, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => made.push(part),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(self.resolve(path)?)
    }

    fn resolve(&self, path: &Path) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat2(
            &self.root,
            path,
            flags,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS,
        )
    }
}

/// Removes a file or link that has this name; a directory is left and makes the caller's creation fail.
fn replace(parent: &OwnedFd, name: &std::ffi::OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT | Errno::ISDIR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
