//! The boundary between a device and what carries it to a guest.
//!
//! A transport (virtio-mmio in our own VMM, vhost-user for another one) owns a [`Device`] and talks to it from one
//! thread. Life of a device:
//!
//! ```text
//!   idle --activate--> running --pause--> idle      (ring positions come back, nothing is forgotten)
//!     ^                                     |
//!     +----------------reset----------------+       (the driver is gone: what it knew is forgotten)
//! ```
//!
//! A running device serves its rings from threads of its own.

use std::io;
use std::sync::Arc;

use cenote_fuse::passthrough::WorkerError;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::memory::Memory;
use crate::queue::{Ring, RingPosition};
use crate::{block, console, fs, net, pmem, rng, vsock};

/// Feature bits that belong to the queue and the transport, not to a device (virtio 1.2 section 6).
pub mod feature {
    pub use virtio_bindings::bindings::virtio_config::VIRTIO_F_VERSION_1;
    pub use virtio_bindings::bindings::virtio_ring::{
        VIRTIO_RING_F_EVENT_IDX, VIRTIO_RING_F_INDIRECT_DESC,
    };

    /// What every device of this crate offers: the modern interface, indirect descriptors, event suppression by index.
    pub const RING: u64 =
        1 << VIRTIO_F_VERSION_1 | 1 << VIRTIO_RING_F_INDIRECT_DESC | 1 << VIRTIO_RING_F_EVENT_IDX;
}

/// Tells the driver that something changed. virtio-mmio answers with an irqfd, vhost-user with call descriptors.
pub trait Interrupt: Send + Sync {
    /// Ring `index` has used buffers.
    fn used_buffers(&self, index: u16) -> io::Result<()>;
    /// The configuration space changed, and is `config` now: a transport may show the driver a copy of it.
    fn config_changed(&self, config: &[u8]) -> io::Result<()>;
}

/// What a device is given to run with.
pub struct Activation {
    /// Guest memory.
    pub memory: Memory,
    /// The feature bits that the driver accepted, a subset of [`Device::features`].
    pub features: u64,
    /// The rings by index. `None` for a ring that the driver did not set up, or that the transport serves itself
    /// (QEMU keeps the event queue of a vhost-user vsock).
    pub rings: Vec<Option<Ring>>,
    /// How to raise interrupts.
    pub interrupt: Arc<dyn Interrupt>,
}

/// Why a device did not start.
#[derive(Debug, Error)]
pub enum ActivateError {
    /// A system call for the worker's thread, epoll or event descriptors failed.
    #[error(
        "cannot start the {device} device: {call}: {source}; check the limits on open files and threads"
    )]
    Resources {
        /// Name of the device.
        device: &'static str,
        /// The call that failed.
        call: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A thread cannot serve the file system.
    #[error("cannot serve the shared directory: {0}")]
    FileSystem(#[from] WorkerError),
    /// The worker's thread has ended.
    #[error("the worker of the {device} device has ended; this is a defect, see the log")]
    WorkerGone {
        /// Name of the device.
        device: &'static str,
    },
}

/// Everything that a snapshot keeps of a device, beside its rings.
///
/// Plain data, versioned by whoever writes the snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceState {
    /// See [`console::ConsoleState`].
    Console(console::ConsoleState),
    /// See [`pmem::PmemState`].
    Pmem(pmem::PmemState),
    /// See [`block::BlockState`].
    Block(block::BlockState),
    /// See [`net::NetState`].
    Net(net::NetState),
    /// See [`rng::RngState`].
    Rng(rng::RngState),
    /// See [`vsock::VsockState`].
    Vsock(vsock::VsockState),
    /// See [`fs::FsState`].
    Fs(fs::FsState),
}

/// Answers a read of `data.len()` bytes at `offset` of the configuration space whose content is `config`.
pub(crate) fn read_config_from(config: &[u8], offset: u64, data: &mut [u8]) {
    data.fill(0);
    let rest = usize::try_from(offset)
        .ok()
        .and_then(|offset| config.get(offset..))
        .unwrap_or_default();
    let len = rest.len().min(data.len());
    data[..len].copy_from_slice(&rest[..len]);
}

/// A virtio device.
///
/// All calls come from the transport's thread. None may block on the guest.
pub trait Device: Send {
    /// Short name for messages and thread names.
    fn name(&self) -> &'static str;

    /// The virtio device id (virtio 1.2 section 5).
    fn device_type(&self) -> u32;

    /// The feature bits offered, [`feature::RING`] included.
    fn features(&self) -> u64;

    /// The largest size that a transport of ours offers for every queue, powers of two, in order of their indices.
    fn queue_sizes(&self) -> &[u16];

    /// Fills `data` from `offset` of the configuration space. Bytes beyond its end read as zero.
    fn read_config(&self, offset: u64, data: &mut [u8]);

    /// Stores what the driver writes at `offset` of the configuration space. Nothing, unless a device has such fields.
    fn write_config(&mut self, _offset: u64, _data: &[u8]) {}

    /// Starts serving. Called when idle; buffers may already wait in the rings. The guest may be running.
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError>;

    /// Stops serving and returns where every ring of the activation stood. No guest memory is touched after the return.
    /// When idle, there is nothing to do and the answer is empty.
    fn pause(&mut self) -> Vec<Option<RingPosition>>;

    /// Forgets what the driver knew (device reset, guest gone). Called when idle. Nothing, unless a device keeps such.
    fn reset(&mut self) {}

    /// What a snapshot must keep. Called when idle.
    ///
    /// There is no default: a device that forgets to answer would lose every clone made of it.
    fn save(&self) -> DeviceState;
}
