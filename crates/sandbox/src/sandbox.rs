//! A handle on one sandbox: everything that another process can ask of it.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::FlockOperation;

use crate::json;
use crate::paths::Paths;
use crate::removal::remove_if_there;
use crate::spec::Spec;
use crate::state::State;
use crate::store::{Error as StoreError, REMOVING, Store, io_error};
use crate::volume;

/// Digits of an id that listings show and that name the runtime folder.
const SHORT: usize = 12;

/// One sandbox, running or not.
#[derive(Debug, Clone)]
pub struct Sandbox {
    paths: Paths,
    id: String,
    spec: Spec,
    created: SystemTime,
}

/// Why a sandbox refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the sandbox could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A process did not start, or was lost.
    #[error(transparent)]
    Process(#[from] crate::session::Error),
    /// It would have to run for that.
    #[error("sandbox {name} is {state}, not running: start it with `cenote start {name}`")]
    NotRunning {
        /// Its name.
        name: String,
        /// Where it stands instead.
        state: &'static str,
    },
    /// It stands still.
    #[error("sandbox {name} is paused: let it go on first (`cenote unpause {name}`)")]
    Paused {
        /// Its name.
        name: String,
    },
    /// It is not paused.
    #[error("sandbox {name} is {state}, not paused")]
    NotPaused {
        /// Its name.
        name: String,
        /// Where it stands instead.
        state: &'static str,
    },
    /// Its machine does not obey.
    #[error("the machine of sandbox {name} does not obey; see `cenote logs --boot {name}`")]
    Disobedient {
        /// Its name.
        name: String,
    },
    /// It must not run for that.
    #[error("sandbox {name} is {state}: stop it first (`cenote stop {name}`), or use --force")]
    Running {
        /// Its name.
        name: String,
        /// Where it stands.
        state: &'static str,
    },
}

impl Sandbox {
    pub(crate) fn open(paths: &Paths, id: &str) -> Result<Self, StoreError> {
        let path = paths.sandboxes().join(id).join("spec.json");
        let failed = io_error(path.clone());
        let created = fs::metadata(&path)
            .and_then(|file| file.modified())
            .map_err(&failed)?;
        let spec = json::read(&path).map_err(&failed)?;
        Ok(Self {
            paths: paths.clone(),
            id: id.to_owned(),
            spec,
            created,
        })
    }

    /// The id: 64 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The beginning of the id, enough for people.
    pub fn short_id(&self) -> &str {
        &self.id[..SHORT]
    }

    /// What it was created as.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// When it was created.
    pub fn created(&self) -> SystemTime {
        self.created
    }

    /// Where it stands now.
    pub fn state(&self) -> State {
        let state = json::read(&self.file("state.json")).unwrap_or(State::Dead);
        if state.is_active() && !self.is_locked() {
            self.after_death()
        } else {
            state
        }
    }

    /// The monitor writes its last state before it lets go of the lock: look again before calling it dead.
    fn after_death(&self) -> State {
        match json::read(&self.file("state.json")) {
            Ok(state @ State::Exited { .. }) => state,
            _ => State::Dead,
        }
    }

    /// Blocks until no monitor is at work, then answers the exit code: the container's, or 125 when Cenote failed, or
    /// 137 when the monitor was killed. A sandbox that never ran answers 0.
    ///
    /// # Errors
    /// [`StoreError::Io`] when the lock cannot be waited for.
    pub fn wait(&self) -> Result<u8, StoreError> {
        let lock = self.open_lock().map_err(io_error(self.file("lock")))?;
        self.wait_on(&lock).map_err(io_error(self.file("lock")))
    }

    fn wait_on(&self, lock: &File) -> io::Result<u8> {
        flock(lock, FlockOperation::LockShared)?;
        // The code stands in the lock file itself: a sandbox that is removed when it ends takes its state file along.
        let mut code = [0];
        match lock.read_at(&mut code, 0) {
            Ok(1) => Ok(code[0]),
            _ if self.state() == State::Dead => Ok(137),
            _ => Ok(0),
        }
    }

    /// Removes a sandbox that does not run, with its writable layer and its log, and with `volumes` those that were made
    /// for it alone. These go anyway with one that was to be removed when it ended.
    ///
    /// # Errors
    /// [`Error::Running`], [`StoreError::Io`].
    pub fn remove(&self, volumes: bool) -> Result<(), Error> {
        let held = match self.lock(FlockOperation::NonBlockingLockExclusive) {
            Ok(held) => Some(held),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(Error::Running {
                    name: self.spec.name.clone(),
                    state: self.state().word(),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error(self.file("lock"))(error).into()),
        };
        self.delete(volumes || self.spec.remove_on_exit)?;
        drop(held);
        Ok(())
    }

    /// Deletes the folders, and the volumes that were made for it if these go too. The caller holds the lock.
    pub(crate) fn delete(&self, volumes: bool) -> Result<(), StoreError> {
        self.remove_runtime()?;
        // Renamed first: from that moment no listing shows it half gone.
        let gone = self
            .paths
            .sandboxes()
            .join(format!("{REMOVING}{}", self.id));
        match fs::rename(self.folder(), &gone) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.map_err(io_error(self.folder()))?,
        }
        remove_if_there(&gone).map_err(io_error(gone))?;
        if !volumes || !volume::has_anonymous(&self.spec) {
            return Ok(());
        }
        let store = Store::open(&self.paths)?;
        let _lock = store.lock()?;
        store.volumes().remove_made_for(&self.spec)
    }

    /// The machine's console output, newest part.
    pub fn console_log(&self) -> PathBuf {
        self.file("console.log")
    }

    /// Bytes that the writable layer occupies on the host; 0 when there is none.
    pub fn disk_usage(&self) -> u64 {
        fs::metadata(self.disk())
            .map(|disk| disk.blocks() * 512)
            .unwrap_or(0)
    }

    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.paths.sandboxes().join(&self.id)
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.file("disk.raw")
    }

    /// The folder of its sockets while it runs.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.paths.runtime.join(self.short_id())
    }

    pub(crate) fn vsock(&self) -> PathBuf {
        self.runtime().join("vsock.sock")
    }

    /// The socket on which the monitor takes signals.
    pub(crate) fn control_socket(&self) -> PathBuf {
        self.runtime().join("monitor.sock")
    }

    pub(crate) fn make_runtime(&self) -> Result<(), StoreError> {
        let path = self.runtime();
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .map_err(io_error(path))
    }

    pub(crate) fn remove_runtime(&self) -> Result<(), StoreError> {
        remove_if_there(&self.runtime()).map_err(io_error(self.runtime()))
    }

    pub(crate) fn write_state(&self, state: &State) -> Result<(), StoreError> {
        let path = self.file("state.json");
        json::replace(&path, state).map_err(io_error(path))
    }

    /// Takes the lock that a monitor holds all its life.
    pub(crate) fn lock(&self, how: FlockOperation) -> io::Result<File> {
        let file = self.open_lock()?;
        flock(&file, how)?;
        Ok(file)
    }

    fn open_lock(&self) -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .open(self.file("lock"))
    }

    fn is_locked(&self) -> bool {
        let tried = self.lock(FlockOperation::NonBlockingLockShared);
        tried.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

pub(crate) fn flock(file: &File, how: FlockOperation) -> io::Result<()> {
    loop {
        match rustix::fs::flock(file, how) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "sandbox_test.rs"]
mod tests;
