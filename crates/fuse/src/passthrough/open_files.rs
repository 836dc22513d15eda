//! What the client has open, by the handles (`fh`) that it knows it by.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use rustix::io::Errno;

/// How many locks share a table.
const SHARDS: usize = 16;

/// Open files or open directories.
#[derive(Debug)]
pub struct OpenFiles<T> {
    shards: [RwLock<HashMap<u64, Arc<T>>>; SHARDS],
    next: AtomicU64,
    open: AtomicUsize,
    limit: usize,
}

impl<T> OpenFiles<T> {
    /// None yet, and `limit` at most.
    pub fn new(limit: usize) -> OpenFiles<T> {
        OpenFiles {
            shards: std::array::from_fn(|_| RwLock::default()),
            // 0 is what a client sends that has not opened anything.
            next: AtomicU64::new(1),
            open: AtomicUsize::new(0),
            limit,
        }
    }

    /// Takes `file` in; its handle is never used again. ENFILE if there are too many.
    pub fn insert(&self, file: T) -> Result<u64, Errno> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Errno::NFILE);
        }
        let handle = self.next.fetch_add(1, Ordering::Relaxed);
        self.shard(handle)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(handle, Arc::new(file));
        Ok(handle)
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
        let removed = self
            .shard(handle)
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&handle)?;
        self.open.fetch_sub(1, Ordering::Relaxed);
        Some(removed)
    }

    /// Closes all.
    pub fn clear(&self) {
        for shard in &self.shards {
            let mut shard = shard.write().unwrap_or_else(PoisonError::into_inner);
            self.open.fetch_sub(shard.len(), Ordering::Relaxed);
            shard.clear();
        }
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    fn shard(&self, handle: u64) -> &RwLock<HashMap<u64, Arc<T>>> {
        &self.shards[handle as usize % SHARDS]
    }
}
