//! The change connection: what others changed in shared directories, for the agent to look at anew.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// Host to agent: entries that others have changed. The first one on a connection has none: it asks whether the agent is
/// ready for more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Changed {
    /// These, in this order.
    Entries(Vec<ChangedDirectory>),
    /// More than can be told: anything may have changed.
    Anything,
}

/// Entries of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedDirectory {
    /// The share, by its place among the plan's mounts.
    pub mount: u32,
    /// The path of the directory below the shared one; empty for that itself.
    pub path: Vec<u8>,
    /// Its inode number, by which the agent knows that it has found it.
    pub inode: u64,
    /// Whether its own attributes have changed.
    pub itself: bool,
    /// The names of the entries, without slashes.
    pub names: Vec<Vec<u8>>,
}

/// Agent to host, the answer to [`Changed`]: the guest believes nothing older any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// Which of the directories, by their places in the message, were not found where they were said to be.
    pub missed: Vec<u32>,
}

impl Message for Changed {
    const KIND: Kind = Kind::Changed;
}

impl Message for Refreshed {
    const KIND: Kind = Kind::Refreshed;
}
