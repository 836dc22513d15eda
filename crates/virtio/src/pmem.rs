//! The persistent memory device (virtio 1.2 section 5.19): a range of guest-physical memory behind which files are.
//!
//! Whoever makes the device maps the files there; the device only tells the driver where that is, and makes what the
//! guest wrote durable when it asks for a flush. Headers and answers lie in RAM: a request that names another place,
//! such as the range itself, is given back without an answer.

use std::fs::File;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_bindings::virtio_ids::VIRTIO_ID_PMEM;

use crate::device::{ActivateError, Activation, Device, DeviceState, feature, read_config_from};
use crate::memory::{Memory, total_len};
use crate::queue::{Chain, Ring, RingError, RingPosition};
use crate::worker::{Service, Worker, take_batch};

/// The request queue (virtio 1.2 section 5.19.2). Linux has one flush in it for each bio that asks for durability.
const QUEUE_SIZES: [u16; 1] = [64];
/// `VIRTIO_PMEM_REQ_TYPE_FLUSH`, the only type of request (section 5.19.6).
const FLUSH: u32 = 0;
/// What a request is answered that was carried out (section 5.19.7).
const DONE: i32 = 0;
/// What a request is answered that was not.
const FAILED: i32 = -1;
/// Start and size are multiples of this: Linux keeps page structures for nothing smaller than 2 MiB, and huge mappings
/// need it too.
pub const ALIGNMENT: u64 = 2 << 20;

/// What a persistent memory device is made of.
#[derive(Debug)]
pub struct PmemSpec {
    /// Guest-physical address of the first byte, a multiple of [`ALIGNMENT`].
    pub start: u64,
    /// Length in bytes, a multiple of [`ALIGNMENT`].
    pub size: u64,
    /// The files that a flush makes durable. None for a range that the guest cannot write: then there is nothing to do.
    pub writable: Vec<File>,
}

/// Why a persistent memory device cannot be made.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PmemError {
    /// No range that a guest can use.
    #[error(
        "persistent memory of {size:#x} bytes at {start:#x}: both must be multiples of {ALIGNMENT:#x}, the size not 0, and the end below 2^64"
    )]
    Range {
        /// Guest-physical address of the first byte.
        start: u64,
        /// Length in bytes.
        size: u64,
    },
}

/// What a snapshot keeps of a persistent memory device. The files behind it are whoever's that restores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PmemState {
    /// Guest-physical address of the first byte.
    pub start: u64,
    /// Length in bytes.
    pub size: u64,
}

/// A persistent memory device. See the [module](self).
pub struct Pmem {
    state: PmemState,
    worker: Worker<Flusher>,
}

impl Pmem {
    /// A device for the range and files of `spec`.
    pub fn new(spec: PmemSpec) -> Result<Self, PmemError> {
        let PmemSpec {
            start,
            size,
            writable,
        } = spec;
        let aligned = start.is_multiple_of(ALIGNMENT) && size.is_multiple_of(ALIGNMENT);
        if !aligned || size == 0 || start.checked_add(size).is_none() {
            return Err(PmemError::Range { start, size });
        }
        let flusher = Flusher {
            files: writable,
            failed: false,
        };
        Ok(Self {
            state: PmemState { start, size },
            worker: Worker::new("pmem", flusher),
        })
    }
}

impl Device for Pmem {
    fn name(&self) -> &'static str {
        "pmem"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_PMEM
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        let PmemState { start, size } = self.state;
        let config = [start.to_le_bytes(), size.to_le_bytes()].concat();
        read_config_from(&config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.worker.start(activation.rings)
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        self.worker.stop()
    }

    fn save(&self) -> DeviceState {
        DeviceState::Pmem(self.state)
    }
}

/// Serves the request queue.
struct Flusher {
    files: Vec<File>,
    /// Whether a failure was logged: a guest can repeat it without end.
    failed: bool,
}

impl Service for Flusher {
    /// All requests of a batch came before the files are flushed, so that one flush answers all of them.
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        let (chains, more) = take_batch(ring)?;
        let requests: Vec<_> = chains
            .into_iter()
            .map(|chain| (request(&memory, &chain), chain))
            .collect();
        let flushed = if requests.iter().any(|(request, _)| *request == Some(FLUSH)) {
            self.flush()
        } else {
            DONE
        };
        for (request, chain) in requests {
            let answer = match request {
                Some(FLUSH) => flushed,
                Some(_) => FAILED,
                None => {
                    ring.push(chain, 0)?;
                    continue;
                }
            };
            let answered = memory.copy_in(chain.writable(), 0, &answer.to_le_bytes());
            let written = if answered.is_ok() {
                size_of_val(&answer)
            } else {
                0
            };
            ring.push(chain, written as u32)?;
        }
        ring.notify()?;
        Ok(more)
    }
}

impl Flusher {
    fn flush(&mut self) -> i32 {
        for file in &self.files {
            // Everything that reading the data back needs is written; the times are not.
            if let Err(error) = file.sync_data() {
                if !self.failed {
                    tracing::warn!(%error, "pmem: what the guest wrote cannot be made durable, and it is told so");
                }
                self.failed = true;
                return FAILED;
            }
        }
        DONE
    }
}

/// The type of the request that `chain` holds, if it is in RAM and leaves room for an answer.
fn request(memory: &Memory, chain: &Chain) -> Option<u32> {
    let mut kind = [0; 4];
    memory.copy_out(chain.readable(), 0, &mut kind).ok()?;
    (total_len(chain.writable()) >= size_of_val(&DONE) as u64).then(|| u32::from_le_bytes(kind))
}

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
mod tests;
