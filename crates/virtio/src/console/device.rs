//! The device as a transport sees it, and what its worker does with the two rings.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::input::Input;
use super::output::Output;
use super::{ConsoleError, ConsoleSpec, ConsoleState};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature};
use crate::queue::{Ring, RingError, RingPosition};
use crate::worker::{Service, Worker, take_batch};

/// Index of the ring with buffers for input (virtio 1.2 section 5.3.2, port 0).
const RECEIVE: u16 = 0;
/// Index of the ring with output.
const TRANSMIT: u16 = 1;
/// Linux fills the first one with pages, so that 16 of them take 64 KiB of the guest, and has one buffer in the second.
const QUEUE_SIZES: [u16; 2] = [16, 16];

/// A console device. See the [module](super).
pub struct Console {
    pub(super) worker: Worker<Port>,
}

impl Console {
    /// A device on the descriptors of `spec`.
    pub fn new(spec: ConsoleSpec) -> Result<Self, ConsoleError> {
        Self::restore(ConsoleState::default(), spec)
    }

    /// A device that takes the place of the one that was saved as `state`, on other descriptors.
    pub fn restore(state: ConsoleState, spec: ConsoleSpec) -> Result<Self, ConsoleError> {
        let ConsoleSpec { output, input } = spec;
        let port = Port {
            output: Output::new(output)?,
            input: Input::new(input, state.unread)?,
        };
        Ok(Self {
            worker: Worker::new("console", port),
        })
    }
}

impl Device for Console {
    fn name(&self) -> &'static str {
        "console"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &QUEUE_SIZES
    }

    /// All fields belong to features that are not offered.
    fn read_config(&self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.worker.start(activation.rings)
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        let positions = self.worker.stop();
        self.worker.service().output.write();
        positions
    }

    fn save(&self) -> DeviceState {
        DeviceState::Console(ConsoleState {
            unread: self.worker.service().input.unread().to_vec(),
        })
    }
}

/// The two directions of port 0.
pub(super) struct Port {
    output: Output,
    input: Input,
}

impl Service for Port {
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        match ring.index() {
            RECEIVE => self.input.fill(ring),
            TRANSMIT => self.transmit(ring),
            _ => Ok(false),
        }
    }

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        self.output.source().chain(self.input.source()).collect()
    }

    fn wait_at_most(&mut self) -> Option<Duration> {
        self.output.write_when_due()
    }
}

impl Port {
    fn transmit(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        let (chains, more) = take_batch(ring)?;
        for chain in chains {
            self.output.take_from(&memory, chain.readable());
            ring.push(chain, 0)?;
        }
        ring.notify()?;
        Ok(more)
    }
}
