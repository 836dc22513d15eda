//! A directory of the host, passed through to a client.
//!
//! The client names one directory entry at a time, and the server looks it up below a descriptor that it holds. It never
//! follows a symbolic link or `..`: what lies outside of the directory cannot be named.
//!
//! The client checks permissions (`default_permissions`): it alone knows its processes' groups and capabilities. The
//! server's rights on the host are the bound for all of it.

mod attributes;
mod by_name;
mod changes;
mod config;
mod copying;
mod creating;
mod data;
mod descriptors;
mod directories;
mod entries;
mod fd_path;
mod identity;
mod ids;
mod kept;
mod lifetimes;
mod locks;
mod mapping;
mod nodes;
mod numbers;
mod open_files;
mod opening;
mod places;
mod removing;
mod waiting;
mod worker;
mod xattr_map;
mod xattrs;

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use thiserror::Error;

pub use changes::{Change, Changes, Listener, News};
pub use config::{Cache, Config, Locks, Readdirplus};
pub use ids::{IdMap, Ids, Owner, Range};
pub use mapping::MapWindow;
pub use worker::{Worker, WorkerError};
pub use xattr_map::{Rule, XattrMap};

pub(crate) use entries::Told;
pub(crate) use opening::Opened;
pub(crate) use xattrs::VALUE_LIMIT;

use changes::Share;
use directories::Directory;
use locks::HostLocks;
use nodes::{Node, Nodes};
use numbers::Numbers;
use open_files::OpenFiles;
use opening::File;
use places::Descriptor;

use crate::host_time;
use crate::wire::{InHeader, Name, StatfsOut};

/// Why a directory cannot be passed through.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ShareError {
    #[error("{path}: cannot open the directory to share: {error}")]
    Open { path: PathBuf, error: Errno },
    #[error("the server cannot wait for locks: {0}")]
    Waiter(#[source] std::io::Error),
}

/// A directory and what the client knows of it.
#[derive(Debug)]
pub struct Passthrough {
    config: Config,
    nodes: Nodes,
    numbers: Numbers,
    files: OpenFiles<File>,
    directories: OpenFiles<Directory>,
    /// The mount of the directory, if its file system is the host's own; see [`opening::is_local`].
    local_mount: Option<u64>,
    /// Where changes by others are told.
    share: Option<Arc<Share>>,
    locks: Option<HostLocks>,
    window: Option<Box<dyn MapWindow>>,
}

/// Who asks, and the thread that does it.
pub(crate) struct Caller<'a> {
    pub worker: &'a mut Worker,
    pub header: InHeader,
}

impl Passthrough {
    /// Passes the directory at `path` through.
    pub fn new(path: &Path, mut config: Config) -> Result<Passthrough, ShareError> {
        if config.ids.keeps() {
            config.xattrs.hide(kept::PREFIX);
        }
        let failed = |error| ShareError::Open {
            path: path.to_owned(),
            error,
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root =
            host_time::call(|| rustix::fs::open(path, flags, Mode::empty())).map_err(failed)?;
        let status = identity::status(&root).map_err(failed)?;
        // Half for files that the client knows, and an eighth more for those of them that must stay open; a quarter for
        // those that it opens; a sixteenth for owners of locks. The rest is for whoever else lives in this process.
        let descriptors = descriptors::allowed() / config.together.max(1);
        let known = descriptors / 2;
        let locks = match config.locks {
            Locks::Host => Some(
                HostLocks::start(config.read_only, descriptors / 16).map_err(ShareError::Waiter)?,
            ),
            Locks::Local => None,
        };
        Ok(Passthrough {
            local_mount: opening::is_local(&root).then_some(status.stx_mnt_id),
            share: None,
            numbers: Numbers::new(&identity::Key::of(&status)),
            nodes: Nodes::new(
                root,
                &status,
                config.descriptors.min(known),
                known + descriptors / 8,
            ),
            config,
            files: OpenFiles::new(descriptors / 8),
            directories: OpenFiles::new(descriptors / 8),
            locks,
            window: None,
        })
    }

    /// Lets the client map files into `window`.
    #[must_use]
    pub fn with_window(mut self, window: Box<dyn MapWindow>) -> Passthrough {
        self.window = Some(window);
        self
    }

    /// How it was set up.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Prepares the calling thread for operations on this directory.
    pub fn worker(&self) -> Result<Worker, WorkerError> {
        Worker::enter(self.config.ids.switches())
    }

    /// How many nodes the client knows, and how many files and directories it has open.
    pub fn known(&self) -> (usize, usize, usize) {
        (
            self.nodes.count(),
            self.files.count(),
            self.directories.count(),
        )
    }

    /// The client is gone, or begins anew: closes and forgets everything.
    pub(crate) fn reset(&self) {
        if let Some(locks) = &self.locks {
            locks.clear();
        }
        if let Some(window) = &self.window {
            window.clear();
        }
        self.files.clear();
        self.directories.clear();
        self.nodes.clear();
    }

    pub(crate) fn statfs(&self, node: u64) -> Result<StatfsOut, Errno> {
        let file = self.place(node)?.1;
        let found = host_time::call(|| rustix::fs::fstatvfs(&*file))?;
        Ok(StatfsOut {
            blocks: found.f_blocks,
            bfree: found.f_bfree,
            bavail: found.f_bavail,
            files: found.f_files,
            ffree: found.f_ffree,
            bsize: found.f_bsize as u32,
            namelen: found.f_namemax as u32,
            frsize: found.f_frsize as u32,
            padding: 0,
            spare: [0; 6],
        })
    }

    /// A node and a descriptor of its file (`O_PATH`).
    fn place(&self, id: u64) -> Result<(Arc<Node>, Arc<Descriptor>), Errno> {
        let node = self.nodes.get(id)?;
        let file = self.nodes.open(&node)?;
        Ok((node, file))
    }
}

/// How often a lookup is tried that meets a rename: whoever renames without a pause gets an error instead of a thread.
const TRIES: usize = 100;

/// The directory entry `name`, whatever it is, as a place (`O_PATH`): never what a link points at.
fn find(directory: &Descriptor, name: Name<'_>) -> Result<OwnedFd, Errno> {
    let mut result = Err(Errno::AGAIN);
    for _ in 0..TRIES {
        result = host_time::call(|| {
            rustix::fs::openat2(
                directory,
                name.as_c_str(),
                OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
                Mode::empty(),
                ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_SYMLINKS,
            )
        });
        // The entry was moved elsewhere between its being found and its being opened.
        if !matches!(result, Err(Errno::XDEV | Errno::AGAIN)) {
            break;
        }
    }
    result
}
