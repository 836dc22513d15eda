//! How long the client may believe names and attributes.
//!
//! With [`Cache::Auto`] it is a second. It is longer where the client is told when somebody else changes something: for the
//! entries of a directory with a mark, and for the attributes of files that have no other name. A mark is always set
//! before what it covers is looked at, so that no change falls between.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::changes::{Changes, Mark, Share};
use super::config::Cache;
use super::nodes::{Node, lock};
use super::opening::Version;
use super::places::Descriptor;
use super::{Passthrough, identity};
use crate::wire::ROOT;

/// Where changes are told: a bound for what nothing tells, such as a store to a mapped file, or a change through a name
/// outside of the directories that the client knows.
pub const TOLD: Duration = Duration::from_secs(60);

/// A directory in which something is looked up or made.
#[derive(Debug)]
pub(super) struct Parent {
    pub node: Arc<Node>,
    pub file: Arc<Descriptor>,
    /// How often a file had been moved out of it before, if it has a mark.
    moves: Option<u64>,
}

/// The directory in which a file was seen last.
#[derive(Debug)]
pub(super) struct Home {
    mark: Weak<Mark>,
    moves: u64,
}

impl Parent {
    /// Whether the client is told of changes in it.
    pub fn is_watched(&self) -> bool {
        self.moves.is_some()
    }

    /// A file may have left it for a place where changes are not told.
    pub fn left(&self) {
        if let Some(mark) = self.node.mark() {
            mark.moves.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Passthrough {
    /// Lets the client believe what it knows for long, as far as `changes` can tell it of others' changes; `share` is this
    /// directory's number there. It has no effect but with [`Cache::Auto`], and on file systems whose every change is made
    /// by this kernel.
    #[must_use]
    pub fn with_changes(mut self, changes: Arc<Changes>, share: u32) -> Passthrough {
        let Ok((_, root)) = self.place(ROOT) else {
            return self;
        };
        let overlaps = changes.note(&root);
        // A file that is shared alone has no name by which it could be looked up anew.
        if self.config.cache == Cache::Auto
            && self.config.only.is_none()
            && self.local_mount.is_some()
        {
            let limit = self.nodes.places.limit();
            self.share = Some(Share::new(changes, share, root, overlaps, limit));
        }
        self
    }

    /// Whether the client is told of changes, as far as they are noticed.
    pub(crate) fn tells(&self) -> bool {
        self.share.is_some()
    }

    /// A directory, with a mark if it can have one.
    pub(super) fn parent(&self, id: u64) -> Result<Parent, Errno> {
        let (node, file) = self.place(id)?;
        let moves = self
            .watch(&node, &file)
            .map(|mark| mark.moves.load(Ordering::Relaxed));
        Ok(Parent { node, file, moves })
    }

    fn watch<'a>(&self, node: &'a Node, file: &Arc<Descriptor>) -> Option<&'a Arc<Mark>> {
        let share = self.share.as_ref().filter(|share| share.listened())?;
        node.mark
            .get_or_init(|| {
                (node.kind == FileType::Directory && self.is_local(node))
                    .then(|| share.mark(file, self.numbers.of(&node.key)))
                    .flatten()
            })
            .as_ref()
    }

    /// Whether a directory that the client is told of has got its mark just now: then it must be looked at once more.
    pub(super) fn newly_watched(&self, node: &Node, file: &Arc<Descriptor>) -> bool {
        node.kind == FileType::Directory
            && node.mark.get().is_none()
            && self.watch(node, file).is_some()
    }

    /// How long the client may believe that a name in `parent` stands for what it stands for, or for nothing.
    pub(super) fn name_lifetime(&self, parent: Option<&Parent>) -> Duration {
        self.lifetime(parent.is_some_and(Parent::is_watched))
    }

    /// How long it may believe the attributes of a node.
    pub(super) fn attribute_lifetime(&self, node: &Node, status: &Statx) -> Duration {
        self.lifetime(match node.kind {
            FileType::Directory => node.mark().is_some(),
            _ => status.stx_nlink == 1 && node.is_at_home(),
        })
    }

    /// Whether the client may keep its list of a directory's entries, because it is as it was when they were listed. Listing
    /// brings the attributes of the entries along: it is done anew before those have to be asked for one by one.
    pub(super) fn lists_as_before(&self, directory: &Parent, file: &OwnedFd) -> bool {
        let Some(mark) = directory.node.mark().filter(|_| directory.is_watched()) else {
            return false;
        };
        let Ok(status) = identity::status(file) else {
            return false;
        };
        let now = Version::of(&status);
        let mut listed = lock(&mark.listed);
        let kept = listed.is_some_and(|(then, at)| then == now && at.elapsed() < TOLD / 2);
        if !kept {
            *listed = now.settled().then(|| (now, Instant::now()));
        }
        kept
    }

    fn lifetime(&self, told: bool) -> Duration {
        match &self.share {
            Some(share) if told && share.listened() => TOLD,
            _ => self.config.lifetime(),
        }
    }
}

impl Node {
    fn mark(&self) -> Option<&Arc<Mark>> {
        self.mark.get()?.as_ref()
    }

    /// It was seen in `parent`.
    pub(super) fn seen_in(&self, parent: &Parent) {
        let home = parent.node.mark().zip(parent.moves);
        *lock(&self.home) = home.map(|(mark, moves)| Home {
            mark: Arc::downgrade(mark),
            moves,
        });
    }

    /// Whether it is where it was seen last, and changes are told there.
    fn is_at_home(&self) -> bool {
        let home = lock(&self.home);
        home.as_ref().is_some_and(|home| {
            let mark = home.mark.upgrade();
            mark.is_some_and(|mark| mark.moves.load(Ordering::Relaxed) == home.moves)
        })
    }
}
