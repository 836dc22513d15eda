//! The block device (virtio 1.2 section 5.2): a raw file of the host as a disk of the guest.
//!
//! Each queue has a thread of its own, which serves all requests that wait when it wakes up, and interrupts once for
//! them:
//!
//! - A **read** is tried from the host's page cache at once. What is not there goes to an io_uring, so that the disk of the
//!   host sees as many requests at a time as the guest has made.
//! - A **write** goes to the page cache at once: a ring would hand it to another thread first.
//! - A **flush** is `fdatasync`, in the ring, so that reads go on meanwhile.
//! - **Discard** and **write zeroes** are `fallocate`.
//!
//! Where the host refuses io_uring, all calls are made by the queue's thread.

mod config;
mod device;
mod disk;
mod request;
mod state;
mod uring;
mod worker;

use std::io;
use std::path::PathBuf;

use thiserror::Error;

pub use device::{Block, MAX_QUEUES};
pub use disk::ID_LEN;
pub use state::BlockState;

/// What a block device is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSpec {
    /// The file, or block device, whose bytes the guest sees as they are. Its length is the disk's, down to a whole sector
    /// of 512 bytes.
    pub path: PathBuf,
    /// Whether the guest may only read.
    pub read_only: bool,
    /// Whether nobody reads the file after the machine's end, so that a flush need not reach the host's disk.
    pub ephemeral: bool,
    /// Number of queues, one for each virtual processor. Taken as 1 if it is 0, and as [`MAX_QUEUES`] if it is greater.
    pub queues: u16,
    /// What the guest sees as serial number, at most [`ID_LEN`] bytes.
    pub id: String,
}

/// Why a block device cannot be made.
#[derive(Debug, Error)]
pub enum BlockError {
    /// The file cannot be opened or its length not be told.
    #[error("cannot open the disk {}: {source}", path.display())]
    Open {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder, pipe or socket.
    #[error("the disk {} is neither a file nor a block device", path.display())]
    Kind {
        /// The path.
        path: PathBuf,
    },
    /// The file has not even one sector.
    #[error("the disk {} has {len} bytes, less than one sector; make it larger", path.display())]
    Empty {
        /// The path.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
    },
    /// The serial number does not fit.
    #[error("the disk id {id:?} is longer than {ID_LEN} bytes; use a shorter one")]
    IdTooLong {
        /// The id asked for.
        id: String,
    },
    /// The file is not the one that was there when the state was saved.
    #[error(
        "the disk {} has {found} sectors, and had {saved} when the machine was saved; use the file that belongs to it",
        path.display()
    )]
    SizeChanged {
        /// The path.
        path: PathBuf,
        /// Sectors now.
        found: u64,
        /// Sectors then.
        saved: u64,
    },
}
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
pub(crate) mod fake_driver;
#[cfg(test)]
mod tests;
