//! The file-system device (virtio 1.2 section 5.11): a directory of the host that the guest mounts by its tag.
//!
//! FUSE messages lie in the queues as they are; `cenote-fuse` carries them out. Queue 0 is for requests that must not wait
//! behind others (FORGET, INTERRUPT), the others are for all requests. Each queue has a thread of its own:
//!
//! - What precedes the data of a WRITE is **copied out** of guest memory before it is looked at, so that the guest cannot
//!   change it afterwards.
//! - The **data** of READ and WRITE go between guest memory and the file by one system call. Where the guest's buffer is a
//!   window onto a file, a page that cannot be touched is EFAULT for that request.
//! - A lock that has to be **waited for** leaves the queue: its chain is kept aside until it is answered, also over a
//!   pause of the device.

mod aside;
mod device;
mod message;
mod state;
mod worker;

use std::sync::Arc;

use cenote_fuse::server::Server;
use thiserror::Error;

pub use device::{Fs, MAX_QUEUES, QUEUE_SIZE, TAG_LEN};
pub use state::{FsState, Waiting};

/// What a file-system device is made of.
#[derive(Clone, Debug)]
pub struct FsSpec {
    /// The name by which the guest mounts it: 1 to [`TAG_LEN`] bytes, none of them zero.
    pub tag: String,
    /// Number of request queues, one for each virtual processor. Taken as 1 if it is 0, and as [`MAX_QUEUES`] if it is
    /// greater.
    pub queues: u16,
    /// What carries the requests out.
    pub server: Arc<Server>,
}

/// Why a file-system device cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FsError {
    /// The tag does not fit the configuration space.
    #[error(
        "the tag {tag:?} is no name of 1 to {TAG_LEN} bytes without zeroes; choose another one"
    )]
    Tag {
        /// The tag asked for.
        tag: String,
    },
}

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
mod fake_driver;
#[cfg(test)]
mod tests;
