//! The device as a transport sees it: identity, configuration space, and a worker behind it.

use std::path::PathBuf;

use virtio_bindings::virtio_ids::VIRTIO_ID_VSOCK;

use super::muxer::Muxer;
use super::worker::Worker;
use super::{VsockError, VsockSpec, VsockState};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature, read_config_from};
use crate::queue::RingPosition;

/// Rings for packets to the guest, of the guest, and for events (virtio 1.2 section 5.10.2). Linux fills the first one
/// with 4 KiB buffers, so that 256 of them take 1 MiB of the guest. A vhost-user front-end has sizes of its own.
const QUEUE_SIZES: [u16; 3] = [256, 256, 16];

/// The lowest context id that is not reserved, and the highest (virtio 1.2 section 5.10.4).
const GUEST_CIDS: std::ops::RangeInclusive<u64> = 3..=0xffff_fffe;

/// A vsock device. See the [module](super).
pub struct Vsock {
    guest_cid: u64,
    worker: Worker,
}

impl Vsock {
    /// Binds the host's socket and starts the worker.
    pub fn new(spec: &VsockSpec) -> Result<Self, VsockError> {
        Self::start(spec, false)
    }

    /// A device that takes the place of the one that was saved as `state`, on another host socket. Its connections are
    /// not restored; the guest is told so.
    pub fn restore(state: &VsockState, socket: PathBuf) -> Result<Self, VsockError> {
        let spec = VsockSpec {
            guest_cid: state.guest_cid,
            socket,
        };
        Self::start(&spec, true)
    }

    fn start(spec: &VsockSpec, restored: bool) -> Result<Self, VsockError> {
        if !GUEST_CIDS.contains(&spec.guest_cid) {
            return Err(VsockError::ReservedCid {
                cid: spec.guest_cid,
            });
        }
        let muxer = Muxer::bind(spec)?;
        let worker = Worker::start(muxer, restored).map_err(|source| VsockError::SetUp {
            path: spec.socket.clone(),
            source,
        })?;
        Ok(Self {
            guest_cid: spec.guest_cid,
            worker,
        })
    }
}

impl Device for Vsock {
    fn name(&self) -> &'static str {
        "vsock"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_VSOCK
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(&self.guest_cid.to_le_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        match self.worker.serve(activation.rings) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(ActivateError::Resources {
                device: self.name(),
                call: "epoll_ctl",
                source,
            }),
            Err(_) => Err(ActivateError::WorkerGone {
                device: self.name(),
            }),
        }
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        self.worker.pause().unwrap_or_default()
    }

    fn reset(&mut self) {
        if self.worker.reset().is_err() {
            tracing::error!("vsock: the worker is gone");
        }
    }

    fn save(&self) -> DeviceState {
        DeviceState::Vsock(VsockState {
            guest_cid: self.guest_cid,
        })
    }
}

#[cfg(test)]
mod tests;
