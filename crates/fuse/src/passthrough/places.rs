//! Keeps the number of open descriptors bounded.
//!
//! Every node has a descriptor at first. Above the limit, nodes that were not used of late give their descriptors back,
//! and are found again when they are needed: by their handle, which takes CAP_DAC_READ_SEARCH and a file system that has
//! handles, and otherwise by their name (see [`super::by_name`]).

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use rustix::fs::{FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::identity::{Handle, Witness, kind};
use super::nodes::{Node, Place, lock};
use crate::host_time;

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
    most: usize,
    open: Arc<AtomicUsize>,
    /// Nodes with descriptors, the next to be considered first.
    line: Mutex<VecDeque<Weak<Node>>>,
    /// A directory of each mount, which handles are opened beside.
    mounts: RwLock<HashMap<u64, Arc<OwnedFd>>>,
    /// Whether handles can be opened.
    by_handle: bool,
}

impl Places {
    /// Keeps at most `limit` descriptors open, of files below `root`; and where closing them is not possible, `most`.
    pub fn new(limit: usize, most: usize, root: &OwnedFd, status: &Statx) -> Places {
        let mut places = Places {
            limit,
            most,
            open: Arc::default(),
            line: Mutex::default(),
            mounts: RwLock::default(),
            by_handle: false,
        };
        places.note_mount(root, status);
        places.by_handle = places.mount(status.stx_mnt_id).is_some_and(|mount| {
            Handle::of(root.as_fd()).is_ok_and(|root| root.open(mount.as_fd()).is_ok())
        });
        if !places.by_handle {
            tracing::debug!("file handles cannot be opened: files are found again by name");
        }
        places
    }

    /// How many descriptors stay open at most, where closing them is possible.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether files are found again by handle.
    pub fn by_handle(&self) -> bool {
        self.by_handle
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
        match host_time::call(|| rustix::fs::openat(file, c".", flags, Mode::empty())) {
            Ok(opened) => {
                self.mounts
                    .write()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(status.stx_mnt_id, Arc::new(opened));
            }
            Err(error) => tracing::debug!(%error, "files of a mount will keep their descriptors"),
        }
    }

    /// The file that a handle names, in the mount with this number.
    pub fn reopen(&self, handle: &Handle, mount: u64) -> Result<Descriptor, Errno> {
        let mount = self.mount(mount).ok_or(Errno::STALE)?;
        Ok(self.count(handle.open(mount.as_fd())?))
    }

    /// Puts `node` in line if it has just got a descriptor, and closes others if there are too many.
    pub fn hold(&self, node: &Arc<Node>) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if !node.in_line.swap(true, Ordering::Relaxed) {
            line.push_back(Arc::downgrade(node));
        }
        self.shorten(&mut line);
    }

    /// That a file which is not known yet may have a descriptor; ENFILE if there are too many that cannot be closed.
    pub fn room(&self) -> Result<(), Errno> {
        let full = || self.open.load(Ordering::Relaxed) >= self.most;
        if full() {
            self.shorten(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner));
        }
        if full() { Err(Errno::NFILE) } else { Ok(()) }
    }

    fn shorten(&self, line: &mut VecDeque<Weak<Node>>) {
        for _ in 0..LOOKS {
            if self.open.load(Ordering::Relaxed) <= self.limit {
                return;
            }
            let Some(next) = line.pop_front() else { return };
            let Some(candidate) = next.upgrade() else {
                continue;
            };
            if candidate.used.swap(false, Ordering::Relaxed) || !self.store(&candidate) {
                line.push_back(next);
            } else {
                candidate.in_line.store(false, Ordering::Relaxed);
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

    /// Gives the node's descriptor back; whether that was possible.
    fn store(&self, node: &Node) -> bool {
        let mut place = node.place.write().unwrap_or_else(PoisonError::into_inner);
        let Place::Held(file) = &*place else {
            return true;
        };
        let Some(witness) = Witness::of(file.as_fd()) else {
            return false;
        };
        let found_again = if self.by_handle {
            witness
                .handle
                .as_ref()
                .is_some_and(|handle| self.reopen(handle, node.key.mount).is_ok())
        } else {
            node.opened.load(Ordering::Relaxed) == 0 && lock(&node.seen).is_some()
        };
        if found_again {
            *place = Place::Stored(witness);
        }
        found_again
    }

    fn mount(&self, id: u64) -> Option<Arc<OwnedFd>> {
        self.mounts
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }
}
