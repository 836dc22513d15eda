//! The entropy device (virtio 1.2 section 5.4): random bytes of the host's kernel.
//!
//! A guest that asks without end keeps this device's thread busy, and with it one processor's share; nothing else waits
//! for it, and the host's generator has no pool that could run dry.

use rustix::rand::{GetRandomFlags, getrandom};
use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use crate::device::{ActivateError, Activation, Device, DeviceState, feature};
use crate::memory::{Memory, Span, total_len};
use crate::queue::{Ring, RingError, RingPosition};
use crate::worker::{Service, Worker, take_batch};

/// The request queue (virtio 1.2 section 5.4.2). Linux has one buffer in it.
const QUEUE_SIZES: [u16; 1] = [8];
/// Bytes given for one request at most; the driver learns how many it got (section 5.4.6). Linux asks for 64 or less, and
/// a request may name 4 GiB.
pub const MAX_BYTES: usize = 256;

/// An entropy device. See the [module](self).
pub struct Rng {
    worker: Worker<Source>,
}

/// What a snapshot keeps of an entropy device: nothing, since no random byte may be given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RngState {}

impl Rng {
    /// A device on the host's generator.
    #[expect(clippy::new_without_default, reason = "devices are made by `new`")]
    pub fn new() -> Self {
        Self {
            worker: Worker::new("rng", Source { failed: false }),
        }
    }
}

impl Device for Rng {
    fn name(&self) -> &'static str {
        "rng"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_RNG
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    /// The device has no configuration space.
    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.worker.start(activation.rings)
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        self.worker.stop()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Rng(RngState {})
    }
}

/// Serves the request queue.
struct Source {
    /// Whether a failure was logged: a guest can repeat it without end.
    failed: bool,
}

impl Service for Source {
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        let (chains, more) = take_batch(ring)?;
        for chain in chains {
            let written = self.fill(&memory, chain.writable());
            ring.push(chain, written as u32)?;
        }
        ring.notify()?;
        Ok(more)
    }
}

impl Source {
    /// Returns how many random bytes are in `spans` now.
    fn fill(&mut self, memory: &Memory, spans: &[Span]) -> usize {
        let mut bytes = [0; MAX_BYTES];
        let wanted = total_len(spans).min(MAX_BYTES as u64) as usize;
        // Once the host's generator is initialised, so few bytes come whole.
        let given = match getrandom(&mut bytes[..wanted], GetRandomFlags::NONBLOCK) {
            Ok(given) => given,
            Err(error) => {
                if !self.failed {
                    tracing::warn!(%error, "rng: the host has no random bytes, and the guest gets none");
                }
                self.failed = true;
                return 0;
            }
        };
        match memory.copy_in(spans, 0, &bytes[..given]) {
            Ok(()) => given,
            Err(error) => {
                tracing::debug!(%error, "rng: a buffer that is in no RAM is given back");
                0
            }
        }
    }
}

#[cfg(test)]
mod tests;
