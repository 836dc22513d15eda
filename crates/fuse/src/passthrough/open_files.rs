//! What the client has open, by the handles (`fh`) that it knows it by.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

/// How many locks share a table.
const SHARDS: usize = 16;

/// Open files or open directories.
#[derive(Debug)]
pub struct OpenFiles<T> {
    shards: [RwLock<HashMap<u64, Arc<T>>>; SHARDS],
    next: AtomicU64,
}

impl<T> Default for OpenFiles<T> {
    fn default() -> Self {
        OpenFiles {
            shards: std::array::from_fn(|_| RwLock::default()),
            // 0 is what a client sends that has not opened anything.
            next: AtomicU64::new(1),
        }
    }
}

impl<T> OpenFiles<T> {
    /// Takes `file` in; its handle is never used again.
    pub fn insert(&self, file: T) -> u64 {
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(handle)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle, Arc::new(file));
        handle
    }

    /// What is open by this handle; EBADF if nothing is.
    pub fn get(&self, handle: u64) -> Result<Arc<T>, Errno> {
        self.shard(handle)
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&handle)
            .cloned()
            .ok_or(Errno::BADF)
    }

    /// Closes a handle, as soon as no operation uses it any more.
    pub fn remove(&self, handle: u64) -> Option<Arc<T>> {
        self.shard(handle)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle)
    }

    /// Closes all.
    pub fn clear(&self) {
        for shard in &self.shards {
            shard
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len())
            .sum()
    }

    fn shard(&self, handle: u64) -> &RwLock<HashMap<u64, Arc<T>>> {
        &self.shards[handle as usize % SHARDS]
    }
}
