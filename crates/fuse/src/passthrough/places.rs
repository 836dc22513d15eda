//! Keeps the number of open descriptors bounded.
//!
//! Every node has a descriptor at first. Above the limit, nodes that were not used of late give their descriptors back
//! and keep their file handles instead, from which they are opened again when they are needed. That needs a file
//! system with handles and CAP_DAC_READ_SEARCH; without these, descriptors stay open.

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rustix::fs::{FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::identity::{Handle, kind};
use super::nodes::{Node, Place};

/// How many nodes are considered when a descriptor is added: bounds the time of one lookup.
const LOOKS: usize = 8;
/// Below this length, the line is not worth tidying.
const TIDY: usize = 1024;

/// An open descriptor of a node (`O_PATH`), which is counted.
#[derive(Debug)]
pub struct Descriptor {
    file: OwnedFd,
    open: Arc<AtomicUsize>,
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the nodes' files are.
#[derive(Debug)]
pub struct Places {
    limit: usize,
    open: Arc<AtomicUsize>,
    /// Nodes with descriptors, the next to be considered first.
    line: Mutex<VecDeque<Weak<Node>>>,
    /// A directory of each mount, which handles are opened beside.
    mounts: RwLock<HashMap<u64, Arc<OwnedFd>>>,
    /// Whether handles can be opened; found out at the first attempt.
    refused: AtomicBool,
}

impl Places {
    /// Keeps at most `limit` descriptors open.
    pub fn new(limit: usize) -> Places {
        Places {
            limit,
            open: Arc::default(),
            line: Mutex::default(),
            mounts: RwLock::default(),
            refused: AtomicBool::new(false),
        }
    }

    /// Counts a descriptor as long as it is open.
    pub fn count(&self, file: OwnedFd) -> Descriptor {
        self.open.fetch_add(1, Ordering::Relaxed);
        Descriptor {
            file,
            open: Arc::clone(&self.open),
        }
    }

    /// Remembers the mount of `file`, if it is a directory of a mount not seen before.
    pub fn note_mount(&self, file: &OwnedFd, status: &Statx) {
        if kind(status) != FileType::Directory || self.mount(status.stx_mnt_id).is_some() {
            return;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::openat(file, c".", flags, Mode::empty()) {
            Ok(opened) => {
                self.mounts
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(status.stx_mnt_id, Arc::new(opened));
            }
            Err(error) => tracing::debug!(%error, "files of a mount will keep their descriptors"),
        }
    }

    /// A descriptor of the node's file, for the length of an operation.
    pub fn open(&self, node: &Arc<Node>) -> Result<Arc<Descriptor>, Errno> {
        node.used.store(true, Ordering::Relaxed);
        let place = node
            .place
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let handle = match place {
            Place::Held(file) => return Ok(file),
            Place::Stored(handle) => handle,
        };
        let mount = self.mount(node.key.mount).ok_or(Errno::STALE)?;
        let file = Arc::new(self.count(handle.open(mount.as_fd())?));
        let mut place = node.place.write().unwrap_or_else(PoisonError::into_inner);
        if let Place::Held(file) = &*place {
            return Ok(Arc::clone(file));
        }
        *place = Place::Held(Arc::clone(&file));
        drop(place);
        self.hold(node);
        Ok(file)
    }

    /// Puts `node`, which has a descriptor now, in line, and closes another one if there are too many.
    pub fn hold(&self, node: &Arc<Node>) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        line.push_back(Arc::downgrade(node));
        for _ in 0..LOOKS {
            if self.open.load(Ordering::Relaxed) <= self.limit
                || self.refused.load(Ordering::Relaxed)
            {
                return;
            }
            let Some(next) = line.pop_front() else { return };
            let Some(candidate) = next.upgrade() else {
                continue;
            };
            if candidate.used.swap(false, Ordering::Relaxed) {
                line.push_back(next);
            } else {
                self.store(&candidate);
            }
        }
    }

    /// Takes nodes that are gone out of the line. They stay in it until their turn comes, unless they are most of it.
    pub fn tidy(&self) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.len() > TIDY && line.len() / 2 > self.open.load(Ordering::Relaxed) {
            line.retain(|node| node.strong_count() > 0);
        }
    }

    /// Replaces the node's descriptor by its handle, if that is possible; otherwise it stays open.
    fn store(&self, node: &Node) {
        let mut place = node.place.write().unwrap_or_else(PoisonError::into_inner);
        let Place::Held(file) = &*place else { return };
        let Some(mount) = self.mount(node.key.mount) else {
            return;
        };
        let Ok(handle) = Handle::of(file.as_fd()) else {
            return;
        };
        if let Err(error) = handle.open(mount.as_fd()) {
            if error == Errno::PERM {
                tracing::debug!("file handles cannot be opened: descriptors stay open");
                self.refused.store(true, Ordering::Relaxed);
            }
            return;
        }
        *place = Place::Stored(handle);
    }

    fn mount(&self, id: u64) -> Option<Arc<OwnedFd>> {
        self.mounts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
}
