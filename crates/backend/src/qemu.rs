//! A machine as a QEMU child process, with our devices attached over vhost-user.
//!
//! QEMU brings the CPU, the memory, virtio-pmem, virtio-blk and virtio-net; vsock and virtio-fs are our own devices, served
//! from this process.
//! Guest memory is a shared memfd, so that both sides see the same pages.

mod arguments;
mod control;
mod images;
mod process;

use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::machine::{Machine, Vm};
use arguments::{MAX_PMEM, MAX_SHARES};
use process::Process;

pub use arguments::Accel;

/// Why QEMU could not start a machine.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program is missing or cannot be executed.
    #[error("cannot start QEMU ({program}): {source}; `cenote doctor` tells what is missing")]
    Spawn {
        /// What was to be executed.
        program: String,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An image could not be measured or mapped.
    #[error("cannot read the image {path}: {source}")]
    Image {
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// An image's length does not fit a virtio-pmem device.
    #[error(
        "the image {path} has {length} bytes, not a multiple of 2 MiB; remove and pull its image again"
    )]
    Unaligned {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        length: u64,
    },
    /// More images than the machine has places for.
    #[error("{count} files of images are too many for QEMU's machine, which takes {MAX_PMEM}")]
    TooManyImages {
        /// How many there are.
        count: usize,
    },
    /// More shares than the machine has places for.
    #[error("{count} shared directories are too many for QEMU's machine, which takes {MAX_SHARES}")]
    TooManyShares {
        /// How many there are.
        count: usize,
    },
    /// A pipe or socket between QEMU and us could not be made.
    #[error("cannot connect QEMU to its monitor: {0}")]
    Plumbing(#[from] io::Error),
    /// The vsock device could not be made.
    #[error(transparent)]
    Vsock(#[from] cenote_virtio::vsock::VsockError),
    /// A share's device could not be made.
    #[error(transparent)]
    Share(#[from] cenote_virtio::fs::FsError),
    /// A device of ours could not be served.
    #[error(transparent)]
    Serve(#[from] cenote_virtio::vhost_user::ServeError),
}

/// How to run QEMU on this host.
#[derive(Debug)]
pub struct Qemu {
    /// A command that runs `qemu-system-x86_64` and to which arguments can be added.
    pub command: Command,
    /// Who executes the guest's instructions.
    pub accel: Accel,
}

impl Qemu {
    /// Starts `machine`. Call it from a thread that lives as long as the machine is to live: the kernel ends QEMU with that thread.
    ///
    /// # Errors
    /// See [`Error`]. A machine that QEMU itself refuses starts and then stops as [`crate::Stopped::Failed`].
    pub fn start(self, machine: Machine) -> Result<Box<dyn Vm>, Error> {
        Ok(Box::new(Process::start(self, machine)?))
    }
}
