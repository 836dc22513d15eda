//! A folder that one process at a time changes: an advisory lock, and temporary folders that vanish if it dies.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use tempfile::TempDir;

const NAME: &str = ".lock";
const TEMPORARY: &str = ".new-";

/// Held while a folder is changed; other processes that want to change it wait.
///
/// Reading needs no lock: entries appear in the folder by rename, complete.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    file: File,
}

impl Lock {
    /// Makes `folder` if it is missing, waits for its lock and removes what a killed process left in it.
    ///
    /// # Errors
    /// When the folder cannot be made, locked or swept.
    pub fn take(folder: &Path) -> io::Result<Self> {
        let file = open(folder)?;
        flock(&file, FlockOperation::LockExclusive)?;
        Self::held(folder, file)
    }

    /// As [`Lock::take`], but gives `None` instead of waiting.
    ///
    /// # Errors
    /// When the folder cannot be made, locked or swept.
    pub fn try_take(folder: &Path) -> io::Result<Option<Self>> {
        let file = open(folder)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => Ok(None),
            locked => locked
                .map_err(io::Error::from)
                .and_then(|()| Self::held(folder, file))
                .map(Some),
        }
    }

    fn held(folder: &Path, file: File) -> io::Result<Self> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry
                .file_name()
                .as_encoded_bytes()
                .starts_with(TEMPORARY.as_bytes())
            {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
            file,
        })
    }

    /// The locked folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// An empty standard input for a child that works in the folder: the lock is held until the child and all its
    /// children have ended too, even when this process is killed before them.
    ///
    /// # Errors
    /// When the system has no descriptor left.
    pub fn shared(&self) -> io::Result<Stdio> {
        self.file.try_clone().map(Stdio::from)
    }

    /// A new temporary folder inside the locked one, removed when dropped or, after a crash, by the next lock.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn temporary(&self) -> io::Result<TempDir> {
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempdir_in(&self.folder)
    }

    /// Makes the finished folder `new` appear as `name`, after its contents have reached the disk.
    ///
    /// # Errors
    /// When it cannot be written out or renamed, for example because `name` exists.
    pub fn publish(&self, new: &Path, name: &str) -> io::Result<PathBuf> {
        let target = self.folder.join(name);
        rustix::fs::syncfs(File::open(new)?)?;
        fs::rename(new, &target)?;
        File::open(&self.folder)?.sync_all()?;
        Ok(target)
    }

    /// Removes the entry `name`: it vanishes at once, whatever happens while its files are deleted.
    ///
    /// # Errors
    /// When it does not exist or cannot be removed.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        let grave = self.temporary()?;
        fs::rename(self.folder.join(name), grave.path().join("removed"))?;
        grave.close()
    }
}

fn open(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(NAME))
}
