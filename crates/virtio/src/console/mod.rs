//! The console device (virtio 1.2 section 5.3): one port, which the guest's kernel calls `hvc0`.
//!
//! It is for what a kernel and its init print, and must never hold them up: Linux waits for each few bytes that it
//! prints with interrupts off until the device has taken them. So output is taken at once, always:
//!
//! - It is written on when a batch has come together or a moment has passed, so that the kernel's pieces of 16 bytes
//!   do not become a system call each.
//! - A reader that is slow gets what fits into a backlog of [`BACKLOG`] bytes. What comes beyond is lost, and a line in
//!   its place says how much.
//! - A reader that is gone, or a disk that is full, ends the record and not the machine.
//!
//! Input is optional, and flows as fast as the guest takes it.

mod device;
mod input;
mod output;

use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use device::Console;
pub use output::BACKLOG;

/// What a console device is made of.
///
/// The open files behind the descriptors become non-blocking, also for those who share them. A pipe or socket without a
/// reader ends the process by SIGPIPE unless that is ignored, as Rust programs do from their start.
#[derive(Debug)]
pub struct ConsoleSpec {
    /// Where the guest's output goes: a pipe, a socket or a file.
    pub output: OwnedFd,
    /// Where its input comes from, if it has any.
    pub input: Option<OwnedFd>,
}

/// Why a console device cannot be made.
#[derive(Debug, Error)]
pub enum ConsoleError {
    /// A descriptor could not be made non-blocking.
    #[error(
        "cannot use a descriptor as the console's {direction}: {source}; give an open pipe, socket or file"
    )]
    Descriptor {
        /// `output` or `input`.
        direction: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// What a snapshot keeps of a console device. Output is the host's as soon as it was taken, and is not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleState {
    /// Input that was read and not yet taken by the guest.
    pub unread: Vec<u8>,
}

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
mod tests;
