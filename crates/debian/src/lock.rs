//! A folder that one process at a time changes: an advisory lock, and temporary folders that vanish if it dies.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const NAME: &str = ".lock";
const TEMPORARY: &str = ".new-";

/// Held while a folder is changed; other processes that want to change it wait.
///
/// Reading needs no lock: entries appear in the folder by rename, complete.
#[derive(Debug)]
pub struct Lock {
    folder: PathBuf,
    _file: File,
}

impl Lock {
    /// Makes `folder` if it is missing, waits for its lock and removes what a killed process left in it.
    ///
    /// # Errors
    /// When the folder cannot be made, locked or swept.
    pub fn take(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(folder.join(NAME))?;
        flock(&file, FlockOperation::LockExclusive)?;
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
            _file: file,
        })
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
