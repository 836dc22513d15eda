//! Finds files again that have no descriptor: by their handle, or, where handles cannot be opened, by their name.
//!
//! A name is where the client was told of the file last, one directory entry below a node that the client knows as well.
//! What is found is believed only if it is the same file; if the host has renamed it, the client gets ESTALE, upon which
//! it looks the name up anew.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use rustix::io::Errno;

use super::find;
use super::identity::{Key, Witness, status};
use super::nodes::{Node, Nodes, Place, lock};
use super::places::Descriptor;
use crate::wire::Name;

/// How deep below a directory with a descriptor a file may be: bounds the work for one request.
const DEPTH: usize = 256;

impl Nodes {
    /// A descriptor of the node's file, for the length of an operation.
    pub fn open(&self, node: &Arc<Node>) -> Result<Arc<Descriptor>, Errno> {
        node.used.store(true, Ordering::Relaxed);
        let witness = match node.place() {
            Place::Held(file) => return Ok(file),
            Place::Stored(witness) => witness,
        };
        let file = match &witness.handle {
            Some(handle) if self.places.by_handle() => {
                Arc::new(self.places.reopen(handle, node.key.mount)?)
            }
            _ => self.find_again(node)?,
        };
        let mut place = node.place.write().unwrap_or_else(PoisonError::into_inner);
        if let Place::Held(file) = &*place {
            return Ok(Arc::clone(file));
        }
        *place = Place::Held(Arc::clone(&file));
        drop(place);
        self.places.hold(node);
        Ok(file)
    }

    fn find_again(&self, node: &Arc<Node>) -> Result<Arc<Descriptor>, Errno> {
        // Up to a directory that has a descriptor: the root always has.
        let mut way = Vec::new();
        let mut at = Arc::clone(node);
        let mut file = loop {
            let witness = match at.place() {
                Place::Held(file) => break file,
                Place::Stored(witness) => witness,
            };
            let (directory, name) = lock(&at.seen).clone().ok_or(Errno::STALE)?;
            if way.len() >= DEPTH {
                return Err(Errno::STALE);
            }
            let above = self.get(directory)?;
            way.push((at.key, witness, name));
            at = above;
        };
        // And down again, one entry at a time.
        while let Some((key, witness, name)) = way.pop() {
            let name = Name::new(&name).map_err(|_| Errno::STALE)?;
            let found = find(&file, name).map_err(|_| Errno::STALE)?;
            let same = Key::of(&status(&found)?) == key
                && Witness::of(std::os::fd::AsFd::as_fd(&found)) == Some(witness);
            if !same {
                return Err(Errno::STALE);
            }
            file = Arc::new(self.places.count(found));
        }
        Ok(file)
    }
}

impl Node {
    fn place(&self) -> Place {
        self.place
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
