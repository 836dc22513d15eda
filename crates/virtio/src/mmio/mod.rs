//! Carries a [`Device`] to a guest by virtio-mmio (virtio 1.2 section 4.2), so that few accesses leave the guest.
//!
//! No register of virtio-mmio changes by being read, so a device's registers are a page of memory that the guest reads
//! without an exit: [`Registers`], which the VMM shows it in a read-only slot. Writes leave the guest:
//!
//! | written | who takes it |
//! |---|---|
//! | `QueueNotify` | KVM: an ioeventfd for each ring, [`Transport::doorbells`], which wakes the device's worker |
//! | `InterruptACK` of used buffers | KVM: an ioeventfd that nobody reads, [`Transport::acknowledged`] |
//! | all others | the VMM, which calls [`Transport::write`] |
//!
//! `InterruptStatus` therefore keeps saying that there are used buffers for as long as the driver runs. The driver looks
//! into its rings at each interrupt anyway, interrupts are edge-triggered, and nothing else shares the line.
//!
//! Only the modern interface (version 2) exists here.

mod registers;
mod state;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, eventfd};

use crate::device::{Activation, Device, Interrupt, feature};
use crate::memory::Memory;
use crate::queue::{Ring, RingError};

pub use registers::{PAGE_SIZE, RegisterPages, Registers, offset};
pub use state::{QueueState, TransportState};

/// "virt", as section 4.2.2 wants it.
const MAGIC: u32 = 0x7472_6976;
/// The modern interface.
const VERSION: u32 = 2;
/// No number is assigned to us. The built kernel's driver knows by it that it need not acknowledge used buffers
/// (`kernel/patches/virtio-mmio-spare-the-acknowledgement.patch`); other drivers do not look at it.
const VENDOR: u32 = u32::from_le_bytes(*b"CNTE");

/// Bits of `InterruptStatus` (section 4.2.2).
const USED_BUFFERS: u32 = 1;
const CONFIG_CHANGED: u32 = 2;

/// Bits of `Status` (section 2.1).
mod status {
    pub const FEATURES_OK: u32 = 8;
    pub const DRIVER_OK: u32 = 4;
    pub const NEEDS_RESET: u32 = 64;
}

/// The most bytes of configuration space that the page shows (sections 5.1 to 5.19 need less than 100).
const CONFIG_SIZE: usize = 256;

/// A device with its registers.
pub struct Transport {
    device: Box<dyn Device>,
    registers: Registers,
    memory: Memory,
    line: Arc<Line>,
    doorbells: Vec<OwnedFd>,
    acknowledged: OwnedFd,
    queues: Vec<QueueState>,
    features: u64,
    feature_word: u32,
    queue: u32,
    running: bool,
}

impl Transport {
    /// Puts `device` behind `registers`, an empty page. It will use `memory` and raise interrupts by `interrupt`, an
    /// eventfd that the VMM leads to an edge-triggered line of the guest.
    ///
    /// # Errors
    /// When no event descriptors can be made.
    pub fn new(
        device: Box<dyn Device>,
        registers: Registers,
        memory: Memory,
        interrupt: OwnedFd,
    ) -> io::Result<Self> {
        let bell = || eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC);
        let doorbells = device
            .queue_sizes()
            .iter()
            .map(|_| bell())
            .collect::<Result<_, _>>()?;
        let queues = vec![QueueState::default(); device.queue_sizes().len()];
        registers.set(offset::MAGIC_VALUE, MAGIC);
        registers.set(offset::VERSION, VERSION);
        registers.set(offset::DEVICE_ID, device.device_type());
        registers.set(offset::VENDOR_ID, VENDOR);
        // No shared memory regions: their length reads as all ones, whichever is selected.
        for word in 0..4 {
            registers.set(offset::SHM_LEN_LOW + 4 * word, u32::MAX);
        }
        let transport = Self {
            device,
            line: Arc::new(Line {
                registers: registers.clone(),
                interrupt,
            }),
            registers,
            memory,
            doorbells,
            acknowledged: bell()?,
            queues,
            features: 0,
            feature_word: 0,
            queue: 0,
            running: false,
        };
        transport.show_features();
        transport.show_queue();
        transport.show_config();
        Ok(transport)
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &dyn Device {
        self.device.as_ref()
    }

    /// The descriptors that are to be signalled when the driver writes a ring's index to [`offset::QUEUE_NOTIFY`].
    #[must_use]
    pub fn doorbells(&self) -> &[OwnedFd] {
        &self.doorbells
    }

    /// A descriptor to be signalled when the driver writes 1 to [`offset::INTERRUPT_ACK`]: nothing has to happen then.
    #[must_use]
    pub fn acknowledged(&self) -> BorrowedFd<'_> {
        self.acknowledged.as_fd()
    }

    /// The driver has written `data` at `at` bytes into the page. Whatever has no meaning there is ignored.
    pub fn write(&mut self, at: u32, data: &[u8]) {
        if at >= offset::CONFIG {
            if (at as usize).saturating_add(data.len()) <= PAGE_SIZE {
                self.device
                    .write_config(u64::from(at - offset::CONFIG), data);
                self.show_config();
            }
            return;
        }
        let Ok(word) = <[u8; 4]>::try_from(data) else {
            return;
        };
        let value = u32::from_le_bytes(word);
        match at {
            offset::DEVICE_FEATURES_SEL => {
                self.feature_word = value;
                self.show_features();
            }
            offset::DRIVER_FEATURES_SEL => self.registers.set(at, value),
            offset::DRIVER_FEATURES => self.accept_features(value),
            offset::QUEUE_SEL => {
                self.queue = value;
                self.show_queue();
            }
            offset::INTERRUPT_ACK => {
                // Used buffers stay announced; see the module's documentation.
                self.registers
                    .clear_bits(offset::INTERRUPT_STATUS, value & CONFIG_CHANGED);
            }
            offset::STATUS => self.set_status(value),
            // Taken by an ioeventfd; a number that no ring has ends here.
            offset::QUEUE_NOTIFY => {}
            _ => self.set_up_queue(at, value),
        }
    }

    fn accept_features(&mut self, bits: u32) {
        if self.status() & status::FEATURES_OK != 0 {
            return;
        }
        let shift = match self.registers.get(offset::DRIVER_FEATURES_SEL) {
            0 => 0,
            1 => 32,
            _ => return,
        };
        self.features = self.features & !(u64::from(u32::MAX) << shift) | u64::from(bits) << shift;
    }

    fn set_up_queue(&mut self, at: u32, value: u32) {
        let running = self.running;
        let max = self.selected_size();
        let Some(queue) = self.queues.get_mut(self.queue as usize) else {
            return;
        };
        if running {
            return;
        }
        let low = |field: &mut u64| *field = *field & !0xffff_ffff | u64::from(value);
        let high = |field: &mut u64| *field = *field & 0xffff_ffff | u64::from(value) << 32;
        match at {
            // More than is offered: keep the ring unusable rather than guess.
            offset::QUEUE_NUM => {
                queue.size = u16::try_from(value)
                    .ok()
                    .filter(|&size| size <= max)
                    .unwrap_or(0);
            }
            offset::QUEUE_READY => {
                queue.ready = value & 1 == 1;
                self.show_queue();
            }
            offset::QUEUE_DESC_LOW => low(&mut queue.desc_table),
            offset::QUEUE_DESC_HIGH => high(&mut queue.desc_table),
            offset::QUEUE_DRIVER_LOW => low(&mut queue.avail_ring),
            offset::QUEUE_DRIVER_HIGH => high(&mut queue.avail_ring),
            offset::QUEUE_DEVICE_LOW => low(&mut queue.used_ring),
            offset::QUEUE_DEVICE_HIGH => high(&mut queue.used_ring),
            _ => {}
        }
    }

    fn selected_size(&self) -> u16 {
        self.device
            .queue_sizes()
            .get(self.queue as usize)
            .copied()
            .unwrap_or(0)
    }

    fn status(&self) -> u32 {
        self.registers.get(offset::STATUS)
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        let mut shown = self.status() & status::NEEDS_RESET | value;
        if shown & status::FEATURES_OK != 0 && !self.features_are_fine() {
            shown &= !status::FEATURES_OK;
        }
        let ready = status::FEATURES_OK | status::DRIVER_OK;
        if shown & ready == ready && !self.running && shown & status::NEEDS_RESET == 0 {
            self.registers
                .set_bits(offset::INTERRUPT_STATUS, USED_BUFFERS);
            if let Err(error) = self.activate() {
                let device = self.device.name();
                tracing::error!(device, %error, "a device cannot run as its driver set it up");
                shown |= status::NEEDS_RESET;
            }
        }
        self.registers.set(offset::STATUS, shown);
    }

    fn features_are_fine(&self) -> bool {
        self.features & !self.device.features() == 0
            && self.features & 1 << feature::VIRTIO_F_VERSION_1 != 0
    }

    fn activate(&mut self) -> Result<(), StartError> {
        let event_idx = self.features & 1 << feature::VIRTIO_RING_F_EVENT_IDX != 0;
        let interrupt: Arc<dyn Interrupt> = self.line.clone();
        let rings = (0..)
            .zip(&self.queues)
            .zip(&self.doorbells)
            .map(|((index, queue), doorbell)| {
                if !queue.ready {
                    return Ok(None);
                }
                let ring = Ring::new(
                    index,
                    queue.layout(),
                    queue.position,
                    event_idx,
                    self.memory.clone(),
                    doorbell.try_clone()?,
                    interrupt.clone(),
                )?;
                Ok(Some(ring))
            })
            .collect::<Result<Vec<_>, StartError>>()?;
        self.device.activate(Activation {
            memory: self.memory.clone(),
            features: self.features,
            rings,
            interrupt,
        })?;
        self.running = true;
        Ok(())
    }

    /// Forgets the driver, as when it resets the device: the guest is gone.
    pub fn reset(&mut self) {
        self.stop();
        self.device.reset();
        self.features = 0;
        self.feature_word = 0;
        self.queue = 0;
        self.queues.fill(QueueState::default());
        for register in [
            offset::STATUS,
            offset::INTERRUPT_STATUS,
            offset::DRIVER_FEATURES_SEL,
        ] {
            self.registers.set(register, 0);
        }
        self.show_features();
        self.show_queue();
        self.show_config();
    }

    /// Stops the device until [`resume`](Self::resume); no guest memory is touched after the return.
    pub fn pause(&mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        if !std::mem::take(&mut self.running) {
            return;
        }
        for (queue, position) in self.queues.iter_mut().zip(self.device.pause()) {
            if let Some(position) = position {
                queue.position = position;
            }
        }
    }

    /// Lets the device go on where it was paused. Does nothing if its driver had not started it.
    ///
    /// # Errors
    /// When the device cannot start.
    pub fn resume(&mut self) -> Result<(), StartError> {
        let running = status::FEATURES_OK | status::DRIVER_OK;
        let status = self.status();
        if self.running || status & running != running || status & status::NEEDS_RESET != 0 {
            return Ok(());
        }
        self.activate()
    }

    fn show_features(&self) {
        let word = match self.feature_word {
            0 => self.device.features() as u32,
            1 => (self.device.features() >> 32) as u32,
            _ => 0,
        };
        self.registers.set(offset::DEVICE_FEATURES, word);
    }

    fn show_queue(&self) {
        let ready = self
            .queues
            .get(self.queue as usize)
            .is_some_and(|queue| queue.ready);
        self.registers
            .set(offset::QUEUE_NUM_MAX, self.selected_size().into());
        self.registers.set(offset::QUEUE_READY, ready.into());
    }

    fn show_config(&self) {
        let mut config = [0; CONFIG_SIZE];
        self.device.read_config(0, &mut config);
        self.registers.show_config(&config);
    }
}

/// Why a device does not run with the rings that its driver set up.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A ring cannot be served.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The device itself cannot start.
    #[error(transparent)]
    Device(#[from] crate::device::ActivateError),
    /// No descriptor for a doorbell.
    #[error("cannot copy a doorbell's descriptor: {0}; check the limit on open files")]
    Doorbell(#[from] io::Error),
}

/// The device's interrupt line.
struct Line {
    registers: Registers,
    interrupt: OwnedFd,
}

impl Line {
    fn raise(&self) -> io::Result<()> {
        rustix::io::write(&self.interrupt, &1u64.to_ne_bytes())?;
        Ok(())
    }
}

impl Interrupt for Line {
    fn used_buffers(&self, _index: u16) -> io::Result<()> {
        self.raise()
    }

    fn config_changed(&self, config: &[u8]) -> io::Result<()> {
        self.registers.show_config(config);
        let generation = self.registers.get(offset::CONFIG_GENERATION);
        self.registers
            .set(offset::CONFIG_GENERATION, generation.wrapping_add(1));
        self.registers
            .set_bits(offset::INTERRUPT_STATUS, CONFIG_CHANGED);
        self.raise()
    }
}

#[cfg(test)]
mod tests;
