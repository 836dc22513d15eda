//! Files that appear whole or not at all, temporary folders that die with their process, and free space.

use std::fs::{self, DirEntry, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::Store;
use crate::error::{Error, Result};

/// A folder for work that is not finished, on the store's file system. It vanishes with its owner: at drop, or if the
/// process is killed, when the store is opened the next time.
pub(crate) struct Workspace {
    folder: TempDir,
    /// Locked while the owner lives.
    _lock: File,
}

impl Workspace {
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an empty file, readable and writable.
    pub(crate) fn file(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.path().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .map_err(Error::io("create", &path))?;
        Ok((path, file))
    }
}

impl Store {
    pub(crate) fn workspace(&self) -> Result<Workspace> {
        let tmp = self.folder.join("tmp");
        // Whoever looks for dead folders holds the lock alone: none can be taken for dead between its making and its locking.
        let _shared = self.lock_shared()?;
        let folder = TempDir::new_in(&tmp).map_err(Error::io("create a folder in", &tmp))?;
        let lock = File::open(folder.path()).map_err(Error::io("open", folder.path()))?;
        lock.lock().map_err(Error::io("lock", folder.path()))?;
        Ok(Workspace {
            folder,
            _lock: lock,
        })
    }

    /// Writes `path` whole: beside, synced, renamed.
    pub(super) fn publish(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let workspace = self.workspace()?;
        let (beside, mut file) = workspace.file("new")?;
        file.write_all(bytes).map_err(Error::io("write", &beside))?;
        publish_file(&file, &beside, path)
    }
}

/// Moves a finished file of a [`Workspace`] to its place.
pub(super) fn publish_file(file: &File, from: &Path, to: &Path) -> Result<()> {
    file.sync_all().map_err(Error::io("sync", from))?;
    fs::rename(from, to).map_err(Error::io("rename a finished file to", to))?;
    sync_folder(to.parent().unwrap_or(to))
}

fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(Error::io("sync", folder))
}

/// Opens a file that exists for its lock only.
pub(super) fn open_lock(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(Error::io("open", path))
}

/// Locks if nobody else does.
pub(super) fn try_lock(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path)(error)),
    }
}

/// The entries of a folder.
pub(super) fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    fs::read_dir(folder)
        .and_then(Iterator::collect)
        .map_err(Error::io("list", folder))
}

/// Reads a file of at most `limit` bytes; `None` if it does not exist.
pub(super) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path)(error)),
    };
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    match bytes.len() as u64 > limit {
        true => Err(Error::Damaged {
            path: path.to_owned(),
            problem: format!("longer than {limit} bytes"),
        }),
        false => Ok(Some(bytes)),
    }
}

/// Removes a file that may be gone already; says how many bytes on disk that frees.
pub(super) fn remove(path: &Path) -> Result<u64> {
    let freed = bytes_on_disk(path);
    match fs::remove_file(path) {
        Ok(()) => Ok(freed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io("remove", path)(error)),
    }
}

/// Bytes that a file occupies, holes not counted; 0 if it is not there.
pub(super) fn bytes_on_disk(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    /// `st_blocks` counts in this unit whatever the file system (stat(2)).
    const UNIT: u64 = 512;
    fs::metadata(path).map_or(0, |metadata| metadata.blocks() * UNIT)
}

/// Bytes that may still be written below `folder`.
pub(super) fn free_bytes(folder: &Path) -> Result<u64> {
    let space = rustix::fs::statvfs(folder)
        .map_err(|error| Error::io("look at the free space of", folder)(error.into()))?;
    Ok(space.f_bavail.saturating_mul(space.f_frsize))
}
