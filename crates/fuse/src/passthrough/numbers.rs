//! The inode numbers that a client sees.
//!
//! What is mounted below the shared directory, and subvolumes of Btrfs, have numbers of their own, but the client sees one
//! device. Two files with one number are the same file to `tar`, `cp` and `diff`, and to a server that shares the
//! client's view again.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};

use super::identity::Key;

/// Above the bits that a file system of the host uses, in all likelihood.
const SHIFT: u32 = 48;

/// Gives every device its part of the numbers; those on the device of the shared directory stay as they are.
#[derive(Debug)]
pub struct Numbers {
    root: u64,
    others: RwLock<HashMap<u64, u64>>,
}

impl Numbers {
    /// Of the shared directory `root`.
    pub fn new(root: &Key) -> Numbers {
        Numbers {
            root: root.device,
            others: RwLock::default(),
        }
    }

    /// The number of the file `key` for the client.
    pub fn of(&self, key: &Key) -> u64 {
        self.within(key, key.inode)
    }

    /// The number for the client of what the host numbers `inode` on the device of `key`.
    pub fn within(&self, key: &Key, inode: u64) -> u64 {
        if key.device == self.root {
            return inode;
        }
        let others = self.others.read().unwrap_or_else(PoisonError::into_inner);
        let known = others.get(&key.device).copied();
        drop(others);
        let part = known.unwrap_or_else(|| {
            let mut others = self.others.write().unwrap_or_else(PoisonError::into_inner);
            let next = others.len() as u64 + 1;
            *others.entry(key.device).or_insert(next)
        });
        inode ^ (part << SHIFT)
    }
}
