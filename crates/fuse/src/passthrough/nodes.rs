//! The files that a client knows of, by the numbers that it knows them by.
//!
//! The client counts how often it was told of a node, and tells how many of these it forgets. A node lives as long as its
//! count. Counts change only under the lock of the node's key, so that a lookup and a forget that meet agree.

use std::collections::HashMap;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::changes::Mark;
use super::identity::{Key, Witness, born, kind};
use super::lifetimes::Home;
use super::places::{Descriptor, Places};
use crate::wire::{Name, ROOT};

/// How many threads of a client are remembered that were told to look a name up anew: so many open one file at once.
const SENT_BACK: usize = 16;

/// How many locks share the tables, a power of two.
const SHARDS: usize = 16;

/// A file that the client knows.
#[derive(Debug)]
pub struct Node {
    /// The client's number for it, never used for another file.
    pub id: u64,
    /// What it is on the host.
    pub key: Key,
    /// Its type, which a file never changes.
    pub kind: FileType,
    /// When it was made, in seconds and nanoseconds.
    born: (i64, u32),
    /// Whether the client knew what it looked up last in this directory.
    pub(super) familiar: AtomicBool,
    /// How often the client was told of it; changes only under the lock of its key.
    told: AtomicU64,
    /// How to get at it.
    pub(super) place: RwLock<Place>,
    /// Whether it was used since its descriptor was last considered for closing.
    pub(super) used: AtomicBool,
    /// Whether its descriptor will be considered.
    pub(super) in_line: AtomicBool,
    /// What its data looked like when the client last opened or closed it; see [`super::opening`].
    pub(super) version: Mutex<Option<super::opening::Version>>,
    /// Where to find it by name, where that may be needed.
    pub(super) seen: Mutex<Option<Seen>>,
    /// The length that the client takes it to have.
    believed: AtomicU64,
    /// The client's threads that were told to look the name up anew and have not opened it since.
    sent_back: Mutex<Vec<u32>>,
    /// How often it is open. A removed file that is open has no name.
    pub(super) opened: AtomicUsize,
    /// Of a directory, by which changes in it are noticed, once that was tried.
    pub(super) mark: OnceLock<Option<Arc<Mark>>>,
    /// The directory where it was seen last, if changes are noticed there.
    pub(super) home: Mutex<Option<Home>>,
}

/// How to get at a file.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Through a descriptor (`O_PATH`).
    Held(Arc<Descriptor>),
    /// By its handle or its name, which cost no descriptor; the witness proves that it is found again.
    Stored(Witness),
}

/// Where the client was told of a file last: the directory's number, and the name in it.
pub(super) type Seen = (u64, CString);

/// All nodes of one mounted directory.
#[derive(Debug)]
pub struct Nodes {
    by_id: [RwLock<HashMap<u64, Arc<Node>>>; SHARDS],
    by_key: [Mutex<HashMap<Key, Arc<Node>>>; SHARDS],
    next: AtomicU64,
    pub(super) places: Places,
}

impl Nodes {
    /// A table that knows `root`; at most `held` descriptors stay open where closing them is possible, and `most` elsewhere.
    pub fn new(root: OwnedFd, status: &Statx, held: usize, most: usize) -> Nodes {
        let nodes = Nodes {
            by_id: Default::default(),
            by_key: Default::default(),
            next: AtomicU64::new(ROOT + 1),
            places: Places::new(held, most, &root, status),
        };
        let root = Arc::new(nodes.places.count(root));
        let node = Arc::new(Node::new(ROOT, root, status));
        lock(nodes.keys(&node.key)).insert(node.key, Arc::clone(&node));
        nodes.insert(node);
        nodes
    }

    /// The node with this number; ESTALE if the client was never told of it, or has forgotten it.
    pub fn get(&self, id: u64) -> Result<Arc<Node>, Errno> {
        self.ids(id)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
            .ok_or(Errno::STALE)
    }

    /// The node of `file`, of which the client will have been told once more, as `seen`, if it has a name; and whether the
    /// client knew it.
    pub fn tell(
        &self,
        file: OwnedFd,
        status: &Statx,
        seen: Option<(u64, Name<'_>)>,
    ) -> (Arc<Node>, bool) {
        let (node, known) = self.tell_of(file, status);
        if let Some((directory, name)) = seen {
            self.see(&node, directory, name);
        }
        self.places.hold(&node);
        (node, known)
    }

    /// A node has a new name, by which it is found again if it has to be.
    pub fn see(&self, node: &Node, directory: u64, name: Name<'_>) {
        if !self.places.by_handle() {
            *lock(&node.seen) = Some((directory, name.as_c_str().to_owned()));
        }
    }

    /// The node of the file that had this status a moment ago, of which the client will have been told once more; `None`
    /// unless it is known and a descriptor has kept its key from going to another file.
    pub fn tell_held(&self, status: &Statx, directory: u64, name: Name<'_>) -> Option<Arc<Node>> {
        let key = Key::of(status);
        let keys = lock(self.keys(&key));
        let node = Arc::clone(keys.get(&key)?);
        // The descriptor may be younger than the status: then the time of birth tells.
        if !node.is_held() || node.born != born(status) || node.born == (0, 0) {
            return None;
        }
        node.told.fetch_add(1, Ordering::Relaxed);
        drop(keys);
        self.see(&node, directory, name);
        Some(node)
    }

    /// The node of the file with this status, if the client knows it.
    pub fn known(&self, status: &Statx) -> Option<Arc<Node>> {
        let key = Key::of(status);
        lock(self.keys(&key)).get(&key).cloned()
    }

    fn tell_of(&self, file: OwnedFd, status: &Statx) -> (Arc<Node>, bool) {
        let key = Key::of(status);
        self.places.note_mount(&file, status);
        let file = Arc::new(self.places.count(file));
        let mut keys = lock(self.keys(&key));
        if let Some(node) = keys.get(&key).cloned()
            && node.is(&file)
        {
            node.told.fetch_add(1, Ordering::Relaxed);
            return (node, true);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let node = Arc::new(Node::new(id, file, status));
        // A node that had this key and is another file stays reachable by its number only.
        keys.insert(key, Arc::clone(&node));
        self.insert(Arc::clone(&node));
        (node, false)
    }

    /// Takes back `times` tellings of a node. Too many are as good as all.
    pub fn forget(&self, id: u64, times: u64) {
        if id == ROOT {
            return;
        }
        let Ok(node) = self.get(id) else {
            tracing::debug!(id, "the client forgets a node that it does not know");
            return;
        };
        let mut keys = lock(self.keys(&node.key));
        let told = node.told.load(Ordering::Relaxed);
        if times < told {
            node.told.store(told - times, Ordering::Relaxed);
            return;
        }
        node.told.store(0, Ordering::Relaxed);
        if keys.get(&node.key).is_some_and(|known| known.id == id) {
            keys.remove(&node.key);
        }
        self.ids(id)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&id);
        drop(keys);
        drop(node);
        self.places.tidy();
    }

    /// Forgets everything but the root.
    pub fn clear(&self) {
        let ids: Vec<u64> = self
            .by_id
            .iter()
            .flat_map(|shard| {
                let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
                shard.keys().copied().collect::<Vec<_>>()
            })
            .collect();
        for id in ids {
            self.forget(id, u64::MAX);
        }
    }

    /// How many nodes there are, the root included.
    pub fn count(&self) -> usize {
        self.by_id
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    fn insert(&self, node: Arc<Node>) {
        self.ids(node.id)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(node.id, node);
    }

    fn ids(&self, id: u64) -> &RwLock<HashMap<u64, Arc<Node>>> {
        &self.by_id[id as usize % SHARDS]
    }

    fn keys(&self, key: &Key) -> &Mutex<HashMap<Key, Arc<Node>>> {
        &self.by_key[key.spread() % SHARDS]
    }
}

impl Node {
    fn new(id: u64, file: Arc<Descriptor>, status: &Statx) -> Node {
        Node {
            id,
            key: Key::of(status),
            kind: kind(status),
            born: born(status),
            familiar: AtomicBool::new(false),
            told: AtomicU64::new(1),
            place: RwLock::new(Place::Held(file)),
            used: AtomicBool::new(false),
            in_line: AtomicBool::new(false),
            version: Mutex::default(),
            seen: Mutex::default(),
            believed: AtomicU64::new(status.stx_size),
            sent_back: Mutex::default(),
            opened: AtomicUsize::new(0),
            mark: OnceLock::new(),
            home: Mutex::default(),
        }
    }

    /// The client is told that the file is `length` bytes long.
    pub fn believed(&self, length: u64) {
        self.believed.store(length, Ordering::Relaxed);
    }

    /// The client has written up to `end`, and knows it.
    pub fn written(&self, end: u64) {
        self.believed.fetch_max(end, Ordering::Relaxed);
    }

    /// Whether `thread`, which opens the file, has to look its name up anew, because the client takes a file of `length`
    /// bytes for a longer or shorter one. Not twice in a row: a file that grows without a pause could never be opened.
    pub fn sends_back(&self, thread: u32, length: u64) -> bool {
        let misjudged = self.believed.load(Ordering::Relaxed) != length;
        let mut sent_back = lock(&self.sent_back);
        match sent_back.iter().position(|one| *one == thread) {
            Some(place) => {
                sent_back.swap_remove(place);
                false
            }
            None if misjudged => {
                if sent_back.len() == SENT_BACK {
                    sent_back.remove(0);
                }
                sent_back.push(thread);
                true
            }
            None => false,
        }
    }

    fn is_held(&self) -> bool {
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*place, Place::Held(_))
    }

    /// Whether this node, which has the key of `file`, is that file: a number on disk may have gone to another file while
    /// no descriptor held it. If it is and has no descriptor, it takes this one.
    fn is(&self, file: &Arc<Descriptor>) -> bool {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        let Place::Stored(witness) = &*place else {
            return true;
        };
        if Witness::of(file.as_fd()).as_ref() != Some(witness) {
            return false;
        }
        *place = Place::Held(Arc::clone(file));
        true
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
