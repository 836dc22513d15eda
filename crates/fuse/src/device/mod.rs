//! The host's own client: a directory mounted through `/dev/fuse`, for tests and tools.

mod mount;
mod reader;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;
use thiserror::Error;

use crate::passthrough::WorkerError;
use crate::server::Server;
use mount::Mount;
pub use mount::{another, attach};
pub(crate) use reader::Reader;

/// Why a directory cannot be mounted.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum MountError {
    #[error("cannot open /dev/fuse: {0}; is the fuse module loaded?")]
    Device(#[source] Errno),
    #[error(
        "cannot mount on {point}: {error}; that needs CAP_SYS_ADMIN in a user namespace of one's own (unshare -rm)"
    )]
    Mount { point: PathBuf, error: Errno },
    #[error("cannot add a reader to the mount: {0}")]
    Clone(#[source] Errno),
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

impl MountError {
    /// What the kernel answered.
    pub fn errno(&self) -> Errno {
        match self {
            MountError::Device(errno) | MountError::Clone(errno) => *errno,
            MountError::Mount { error, .. } => *error,
            MountError::Thread(error) => Errno::from_io_error(error).unwrap_or(Errno::IO),
            MountError::Worker(_) => Errno::PERM,
        }
    }
}

/// A mounted directory and the threads that serve it; unmounted when dropped.
#[derive(Debug)]
pub struct Session {
    mount: Mount,
    threads: Vec<JoinHandle<()>>,
}

impl Session {
    /// Mounts what `server` serves on `point`, served by `readers` threads.
    pub fn mount(server: Arc<Server>, point: &Path, readers: usize) -> Result<Session, MountError> {
        let mount = Mount::new(point)?;
        let mut session = Session {
            threads: Vec::new(),
            mount,
        };
        for number in 0..readers.max(1) {
            let device = session.mount.device(number)?;
            session.threads.push(Reader::start(device, &server)?);
        }
        Ok(session)
    }

    /// Waits until somebody unmounts the directory.
    pub fn wait(mut self) {
        self.join();
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a file-system thread panicked");
            }
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.mount.end();
        self.join();
    }
}
