//! From what the kernel says to what clients are told.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::io::Errno;

use super::fanotify::{self, Event};
use super::{Changes, Mark};

/// Bytes of events that are read at once: some hundred.
const BUFFER: usize = 32 << 10;
/// How often the queue is read before what was read is told: others may fill it without end.
const READS: usize = 16;
/// How many names wait to be told. Above it, forgetting everything is less work for a client.
const WAITING: usize = 4096;
/// How many names are told at once.
const NAMES: usize = 256;
/// Above so many bytes of names and paths, no further directory is told at once.
const BYTES: usize = 128 << 10;
/// How often a client is told of a change that it does not find, because it or the host moved a directory meanwhile.
const TRIES: u8 = 3;

/// Entries of one directory that others have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The share, by the number that it was given with.
    pub share: u32,
    /// The directory's path below the shared one; empty for that itself.
    pub directory: Vec<u8>,
    /// The directory's inode number, as the client sees it.
    pub inode: u64,
    /// Whether the directory's own attributes have changed.
    pub itself: bool,
    /// The entries.
    pub names: Vec<CString>,
}

/// What a client is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Changes, a bounded number.
    Changes(Vec<Change>),
    /// Anything may have changed.
    Lost,
}

/// Listens to [`Changes`]; while it lives, clients are let believe what they know for long.
///
/// Readable (`poll(2)`) when there is something to [`collect`](Listener::collect).
#[derive(Debug)]
pub struct Listener {
    changes: Arc<Changes>,
    buffer: Vec<u8>,
    /// By the marks' ids: a directory is marked before what is below it, and told before it.
    waiting: BTreeMap<u64, Waiting>,
    /// How many names wait.
    count: usize,
    lost: bool,
    told: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    mark: Arc<Mark>,
    itself: bool,
    names: BTreeSet<CString>,
    tries: u8,
}

impl Changes {
    /// Listens from now on. There is one listener at most.
    pub fn listen(self: &Arc<Self>) -> Listener {
        self.listened.store(true, Ordering::Release);
        Listener {
            changes: Arc::clone(self),
            buffer: vec![0; BUFFER],
            waiting: BTreeMap::new(),
            count: 0,
            lost: false,
            told: Vec::new(),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.changes.listened.store(false, Ordering::Release);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.changes.group.as_fd()
    }
}

impl Listener {
    /// Takes over what has happened by now.
    pub fn collect(&mut self) -> Result<(), Errno> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let result = self.read(&mut buffer);
        self.buffer = buffer;
        result
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<(), Errno> {
        for _ in 0..READS {
            let len = match self.changes.group.read(buffer) {
                Ok(len) => len,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error),
            };
            for event in fanotify::events(&buffer[..len]) {
                self.take_in(event);
            }
        }
        Ok(())
    }

    fn take_in(&mut self, event: Event<'_>) {
        let Event::In {
            directory,
            name,
            listing,
            left,
            own,
        } = event
        else {
            return self.lose();
        };
        let marks = self.changes.marks_of(&directory);
        for mark in marks {
            // Of what one client does, only others need to be told; which of several it was, nobody knows.
            if own && !mark.overlaps() {
                continue;
            }
            if left {
                mark.moves.fetch_add(1, Ordering::Relaxed);
            }
            let itself = listing || name == c".";
            self.wait(mark, itself, (name != c".").then_some(name), 0);
        }
    }

    fn wait(&mut self, mark: Arc<Mark>, itself: bool, name: Option<&CStr>, tries: u8) {
        if self.lost {
            return;
        }
        let waiting = self.waiting.entry(mark.id).or_insert_with(|| Waiting {
            mark,
            itself: false,
            names: BTreeSet::new(),
            tries,
        });
        waiting.itself |= itself;
        if let Some(name) = name
            && !waiting.names.contains(name)
        {
            waiting.names.insert(name.to_owned());
            self.count += 1;
        }
        if self.count > WAITING {
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.waiting.clear();
        self.count = 0;
        self.lost = true;
    }

    /// What is to be told next, if anything. It has arrived when [`told`](Listener::told) is called.
    pub fn news(&mut self) -> Option<News> {
        let mut changes = Vec::new();
        let (mut names, mut bytes) = (0, 0);
        while names < NAMES && bytes < BYTES {
            let Some(mut entry) = self.waiting.first_entry() else {
                break;
            };
            let waiting = entry.get_mut();
            let path = match waiting.mark.path() {
                Ok(Some(path)) => path.into_os_string().into_vec(),
                // It is gone, which its parent's change tells.
                Ok(None) => {
                    self.count -= entry.remove().names.len();
                    continue;
                }
                Err(error) => {
                    tracing::debug!(%error, "a directory cannot be named any more");
                    self.lose();
                    break;
                }
            };
            bytes += path.len();
            let mut now = BTreeSet::new();
            while names < NAMES
                && let Some(name) = waiting.names.pop_first()
            {
                names += 1;
                bytes += name.count_bytes();
                now.insert(name);
            }
            self.count -= now.len();
            changes.push(Change {
                share: waiting.mark.share(),
                directory: path,
                inode: waiting.mark.inode,
                itself: waiting.itself,
                names: now.iter().cloned().collect(),
            });
            self.told.push(Waiting {
                mark: Arc::clone(&waiting.mark),
                names: now,
                ..*waiting
            });
            if waiting.names.is_empty() {
                entry.remove();
            }
        }
        if std::mem::take(&mut self.lost) {
            self.told.clear();
            return Some(News::Lost);
        }
        (!changes.is_empty()).then_some(News::Changes(changes))
    }

    /// The last [`News`] have arrived. The directories of those changes that are in `missed` were not where they were
    /// said to be.
    pub fn told(&mut self, missed: &[u32]) {
        let told = std::mem::take(&mut self.told);
        for (index, change) in told.into_iter().enumerate() {
            let missed = missed.iter().any(|missed| *missed as usize == index);
            if !missed || change.tries >= TRIES {
                continue;
            }
            let tries = change.tries + 1;
            if change.names.is_empty() {
                self.wait(Arc::clone(&change.mark), change.itself, None, tries);
            }
            for name in &change.names {
                self.wait(Arc::clone(&change.mark), change.itself, Some(name), tries);
            }
        }
    }
}
