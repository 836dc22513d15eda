//! LOOKUP, FORGET and BATCH_FORGET, and the entries that many replies carry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::Statx;
use rustix::io::Errno;

use super::identity::{self, Key};
use super::lifetimes::Parent;
use super::nodes::Node;
use super::{Cache, Passthrough, find};
use crate::wire::{Attr, EntryOut, Name, ROOT};

/// An entry of which the client will have been told, and must be if it is not to be taken back. Without a node, it says that
/// there is none.
#[derive(Debug)]
pub(crate) struct Told(pub EntryOut);

impl Passthrough {
    pub(crate) fn lookup(&self, parent: u64, name: Name<'_>) -> Result<Told, Errno> {
        let parent = self.parent(parent)?;
        match self.entry(&parent, name) {
            Err(Errno::NOENT) => self.absent(&parent).ok_or(Errno::NOENT),
            found => found,
        }
    }

    /// The entry `name` of a directory, whatever it is.
    ///
    /// Where the client knew the last one, it is likely to know this one as well: then the status alone tells. Otherwise
    /// the file gets a descriptor first, which its status is taken from.
    pub(super) fn entry(&self, parent: &Parent, name: Name<'_>) -> Result<Told, Errno> {
        let directory = &parent.node;
        if directory.familiar.load(Ordering::Relaxed) {
            let status = identity::status_of_entry(&*parent.file, name)?;
            if let Some(node) = self.nodes.tell_held(&status, directory.id, name) {
                return self.entry_out(&node, status, Some(parent));
            }
        }
        self.nodes.places.room()?;
        let file = find(&parent.file, name)?;
        let status = identity::status(&file)?;
        let (node, known) = self.nodes.tell(file, &status, Some((directory.id, name)));
        directory.familiar.store(known, Ordering::Relaxed);
        self.entry_out(&node, status, Some(parent))
    }

    pub(crate) fn forget(&self, node: u64, times: u64) {
        self.nodes.forget(node, times);
    }

    /// Takes an entry back that did not reach the client.
    pub(crate) fn untell(&self, told: &EntryOut) {
        if told.node > ROOT {
            self.forget(told.node, 1);
        }
    }

    /// The entry for the node of a file with this status, of which the client will have been told; `parent` is where it was
    /// found, if it has a name.
    pub(super) fn entry_out(
        &self,
        node: &Arc<Node>,
        status: Statx,
        parent: Option<&Parent>,
    ) -> Result<Told, Errno> {
        if let Some(parent) = parent {
            node.seen_in(parent);
        }
        let looked_at = self.nodes.open(node).and_then(|file| {
            let status = match self.newly_watched(node, &file) {
                true => identity::status(&*file)?,
                false => status,
            };
            Ok((status, self.config.ids.client_owner(&*file, &status)))
        });
        let (status, owner) = match looked_at {
            Ok(looked_at) => looked_at,
            Err(error) => {
                self.forget(node.id, 1);
                return Err(error);
            }
        };
        node.believed(status.stx_size);
        let name = self.name_lifetime(parent);
        let attributes = self.attribute_lifetime(node, &status);
        Ok(Told(EntryOut {
            node: node.id,
            generation: 0,
            entry_valid: name.as_secs(),
            attr_valid: attributes.as_secs(),
            entry_valid_nsec: name.subsec_nanos(),
            attr_valid_nsec: attributes.subsec_nanos(),
            attr: self.attributes(&status, owner),
        }))
    }

    /// How long a name may be believed not to exist, as an entry; `None` if not at all. Whoever makes a file on the host
    /// expects the client to find it at once, even if it looked before.
    fn absent(&self, parent: &Parent) -> Option<Told> {
        if self.config.cache != Cache::Always && !parent.is_watched() {
            return None;
        }
        let lifetime = self.name_lifetime(Some(parent));
        let nothing: EntryOut = zerocopy::FromZeros::new_zeroed();
        Some(Told(EntryOut {
            entry_valid: lifetime.as_secs(),
            entry_valid_nsec: lifetime.subsec_nanos(),
            ..nothing
        }))
    }

    /// The attributes of a file that belongs to `owner` for the client.
    pub(super) fn attributes(&self, status: &Statx, owner: (u32, u32)) -> Attr {
        let mapped = self.config.map_from.is_some_and(|from| {
            self.window.is_some() && identity::kind(status).is_file() && status.stx_size >= from
        });
        Attr {
            ino: self.numbers.of(&Key::of(status)),
            size: status.stx_size,
            blocks: status.stx_blocks,
            atime: status.stx_atime.tv_sec as u64,
            mtime: status.stx_mtime.tv_sec as u64,
            ctime: status.stx_ctime.tv_sec as u64,
            atimensec: status.stx_atime.tv_nsec,
            mtimensec: status.stx_mtime.tv_nsec,
            ctimensec: status.stx_ctime.tv_nsec,
            mode: status.stx_mode.into(),
            nlink: status.stx_nlink,
            uid: owner.0,
            gid: owner.1,
            rdev: device_number(status.stx_rdev_major, status.stx_rdev_minor),
            blksize: status.stx_blksize,
            flags: if mapped { Attr::DAX } else { 0 },
        }
    }
}

/// The protocol has the kernel's 32-bit form: 12 bits of major number between the low 8 and the high 12 bits of minor.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xf_ff00) << 12
}
