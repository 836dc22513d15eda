//! The marks of directories.

use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Instant;

use rustix::fs::{CWD, Statx};
use rustix::io::Errno;

use super::{Changes, Root};
use crate::passthrough::fd_path::FdPath;
use crate::passthrough::identity::{self, Handle};
use crate::passthrough::nodes::lock;
use crate::passthrough::opening::Version;
use crate::passthrough::places::Descriptor;

/// How many directories of one share have marks. Each is a descriptor that stays open, and memory of the kernel.
const MARKS: usize = 8192;

/// A shared directory whose changes are told.
#[derive(Debug)]
pub struct Share {
    changes: Arc<Changes>,
    /// What the listener knows it by.
    number: u32,
    root: Arc<Descriptor>,
    overlaps: Arc<AtomicBool>,
    marks: AtomicUsize,
    limit: usize,
}

/// A directory in which changes are noticed, as long as this lives.
#[derive(Debug)]
pub struct Mark {
    /// Never used again.
    pub id: u64,
    share: Arc<Share>,
    directory: Arc<Descriptor>,
    handle: Handle,
    /// The directory's number, as clients see it.
    pub inode: u64,
    /// How often a file was moved out of it by others.
    pub moves: AtomicU64,
    /// When the client began to list it anew, and what tells whether it has changed since then.
    pub listed: Mutex<Option<(Version, Instant)>>,
}

impl Share {
    /// The directory at `root`, of which [`Changes::note`] said what `overlaps`; `descriptors` may stay open.
    pub fn new(
        changes: Arc<Changes>,
        number: u32,
        root: Arc<Descriptor>,
        overlaps: Arc<AtomicBool>,
        descriptors: usize,
    ) -> Arc<Share> {
        Arc::new(Share {
            changes,
            number,
            root,
            overlaps,
            marks: AtomicUsize::new(0),
            limit: MARKS.min(descriptors / 2),
        })
    }

    /// Whether somebody listens.
    pub fn listened(&self) -> bool {
        self.changes.listened.load(Ordering::Acquire)
    }

    /// Marks a directory of the share, which clients know by the number `inode`; `None` where changes are not noticed, or not all of them.
    pub fn mark(self: &Arc<Share>, directory: &Arc<Descriptor>, inode: u64) -> Option<Arc<Mark>> {
        if self.marks.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.marks.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        match self.try_mark(directory, inode) {
            Ok(mark) => Some(mark),
            Err(error) => {
                self.marks.fetch_sub(1, Ordering::Relaxed);
                tracing::debug!(%error, "changes in a directory will not be noticed");
                None
            }
        }
    }

    fn try_mark(
        self: &Arc<Share>,
        directory: &Arc<Descriptor>,
        inode: u64,
    ) -> Result<Arc<Mark>, Errno> {
        let handle = Handle::of(directory.as_fd())?;
        let status = identity::status(&**directory)?;
        // Where it cannot be named, nobody can be told of it.
        path(&self.root, directory, &status)?.ok_or(Errno::NOENT)?;
        let changes = &self.changes;
        let mut marks = lock(&changes.marks);
        changes.group.mark(&**directory)?;
        let mark = Arc::new(Mark {
            id: changes.next.fetch_add(1, Ordering::Relaxed),
            share: Arc::clone(self),
            directory: Arc::clone(directory),
            handle: handle.clone(),
            inode,
            moves: AtomicU64::new(0),
            listed: Mutex::default(),
        });
        marks.entry(handle).or_default().push(Arc::downgrade(&mark));
        Ok(mark)
    }
}

impl Mark {
    /// The share's number.
    pub fn share(&self) -> u32 {
        self.share.number
    }

    /// Whether what this process does in the directory may be another client's doing.
    pub fn overlaps(&self) -> bool {
        self.share.overlaps.load(Ordering::Relaxed)
    }

    /// Where the directory is now, below the shared one; `None` if it is there no more.
    pub fn path(&self) -> Result<Option<PathBuf>, Errno> {
        let status = identity::status(&*self.directory)?;
        path(&self.share.root, &self.directory, &status)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.share.marks.fetch_sub(1, Ordering::Relaxed);
        let changes = &self.share.changes;
        let mut marks = lock(&changes.marks);
        let Some(same) = marks.get_mut(&self.handle) else {
            return;
        };
        same.retain(|other| other.strong_count() > 0);
        if same.is_empty() {
            marks.remove(&self.handle);
            // It fails for a directory that is gone, and its mark with it.
            let _ = changes.group.unmark(&*self.directory);
        }
    }
}

impl Changes {
    /// Takes note of a shared directory, whether its changes are told or not. What it returns says from now on whether
    /// another one has files in common with it.
    pub(in crate::passthrough) fn note(&self, root: &Descriptor) -> Arc<AtomicBool> {
        let overlaps = Arc::new(AtomicBool::new(false));
        // Without a path it has no marks either.
        let Ok(path) = whole_path(root) else {
            return overlaps;
        };
        let mut roots = lock(&self.roots);
        for other in roots.iter() {
            if other.path.starts_with(&path) || path.starts_with(&other.path) {
                other.overlaps.store(true, Ordering::Relaxed);
                overlaps.store(true, Ordering::Relaxed);
            }
        }
        roots.push(Root {
            path,
            overlaps: Arc::clone(&overlaps),
        });
        overlaps
    }

    /// The marks of a directory.
    pub(super) fn marks_of(&self, directory: &Handle) -> Vec<Arc<Mark>> {
        lock(&self.marks)
            .get(directory)
            .map(|marks| marks.iter().filter_map(Weak::upgrade).collect())
            .unwrap_or_default()
    }
}

/// The path of `directory`, which has this status, below `root`; `None` if it has none.
fn path(
    root: &Descriptor,
    directory: &Descriptor,
    status: &Statx,
) -> Result<Option<PathBuf>, Errno> {
    // What is removed has a path too: the last one, with a word behind it.
    if status.stx_nlink == 0 {
        return Ok(None);
    }
    let (root, directory) = (whole_path(root)?, whole_path(directory)?);
    Ok(directory.strip_prefix(&root).ok().map(PathBuf::from))
}

fn whole_path(file: &Descriptor) -> Result<PathBuf, Errno> {
    let number = FdPath::new(file);
    let link = [b"/proc/self/fd/", number.as_c_str().to_bytes()].concat();
    let path = rustix::fs::readlinkat(CWD, link, Vec::new())?;
    Ok(OsStr::from_bytes(path.as_bytes()).into())
}
