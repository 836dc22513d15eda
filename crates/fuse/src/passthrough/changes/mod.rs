//! What others change in shared directories, so that clients can be told of it and believe what they know for long.
//!
//! A directory that a client knows entries of has a *mark*. While somebody listens, what happens there becomes a
//! [`Change`], unless this process did it for the only client that can have done it: that client knows already.
//! One [`Changes`] serves all shared directories of a process, because users may have few fanotify groups.

mod fanotify;
mod listener;
mod mark;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, Weak};

use rustix::io::Errno;

pub use listener::{Change, Listener, News};
pub(super) use mark::{Mark, Share};

use super::identity::Handle;
use fanotify::Group;

/// Tells what others change in the directories that are given to it with
/// [`Passthrough::with_changes`](super::Passthrough::with_changes).
#[derive(Debug)]
pub struct Changes {
    group: Group,
    /// Marks by what the kernel calls their directories; one for each share that knows the directory.
    marks: Mutex<HashMap<Handle, Vec<Weak<Mark>>>>,
    /// Where all directories are that were given to it.
    roots: Mutex<Vec<Root>>,
    listened: AtomicBool,
    next: AtomicU64,
}

/// A directory that was given.
#[derive(Debug)]
struct Root {
    path: PathBuf,
    /// Whether another one is in it, or it in another, so that what this process does below it may be another client's
    /// doing.
    overlaps: Arc<AtomicBool>,
}

impl Changes {
    /// Nothing is marked yet.
    ///
    /// # Errors
    ///
    /// ENOSYS or EINVAL before Linux 5.13, EMFILE above the user's limit (`fs.fanotify.max_user_groups`).
    pub fn new() -> Result<Arc<Changes>, Errno> {
        Ok(Arc::new(Changes {
            group: Group::new()?,
            marks: Mutex::default(),
            roots: Mutex::default(),
            listened: AtomicBool::new(false),
            next: AtomicU64::new(0),
        }))
    }
}

#[cfg(test)]
mod tests;
