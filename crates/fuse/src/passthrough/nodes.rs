//! The files that a client knows of, by the numbers that it knows them by.
//!
//! The client counts how often it was told of a node, and tells how many of these it forgets. A node lives as long as its
//! count. Counts change only under the lock of the node's key, so that a lookup and a forget that meet agree.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::identity::{Handle, Key, kind};
use super::places::{Descriptor, Places};
use crate::wire::ROOT;

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
    /// How often the client was told of it; changes only under the lock of its key.
    told: AtomicU64,
    /// How to get at it.
    pub(super) place: RwLock<Place>,
    /// Whether it was used since its descriptor was last considered for closing.
    pub(super) used: AtomicBool,
    /// What its data looked like when the client last opened or closed it; see [`super::opening`].
    pub(super) seen: Mutex<Option<super::opening::Version>>,
}

/// How to get at a file.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// Through a descriptor (`O_PATH`).
    Held(Arc<Descriptor>),
    /// Through its name within the file system, which costs no descriptor.
    Stored(Handle),
}

/// All nodes of one mounted directory.
#[derive(Debug)]
pub struct Nodes {
    by_id: [RwLock<HashMap<u64, Arc<Node>>>; SHARDS],
    by_key: [Mutex<HashMap<Key, Arc<Node>>>; SHARDS],
    next: AtomicU64,
    pub(super) places: Places,
}

impl Nodes {
    /// A table that knows `root`; at most `held` descriptors stay open where closing them is possible.
    pub fn new(root: OwnedFd, status: &Statx, held: usize) -> Nodes {
        let nodes = Nodes {
            by_id: Default::default(),
            by_key: Default::default(),
            next: AtomicU64::new(ROOT + 1),
            places: Places::new(held),
        };
        nodes.places.note_mount(&root, status);
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

    /// The node of `file`, of which the client will have been told once more.
    pub fn tell(&self, file: OwnedFd, status: &Statx) -> Arc<Node> {
        let key = Key::of(status);
        self.places.note_mount(&file, status);
        let file = Arc::new(self.places.count(file));
        let mut keys = lock(self.keys(&key));
        if let Some(node) = keys.get(&key).cloned()
            && let Some(reopened) = node.is(&file)
        {
            node.told.fetch_add(1, Ordering::Relaxed);
            drop(keys);
            if reopened {
                self.places.hold(&node);
            }
            return node;
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let node = Arc::new(Node::new(id, file, status));
        // A node that had this key and is another file stays reachable by its number only.
        keys.insert(key, Arc::clone(&node));
        self.insert(Arc::clone(&node));
        drop(keys);
        self.places.hold(&node);
        node
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
            told: AtomicU64::new(1),
            place: RwLock::new(Place::Held(file)),
            used: AtomicBool::new(false),
            seen: Mutex::new(None),
        }
    }

    /// Whether this node, which has the key of `file`, is that file: a number on disk may have gone to another file while
    /// no descriptor held it. If it is, says whether it took the descriptor.
    fn is(&self, file: &Arc<Descriptor>) -> Option<bool> {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        let Place::Stored(handle) = &*place else {
            return Some(false);
        };
        if Handle::of(file.as_fd()).as_ref() != Ok(handle) {
            return None;
        }
        *place = Place::Held(Arc::clone(file));
        Some(true)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
