//! The virtio devices of a machine, each behind its page of registers.

use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cenote_virtio::device::Device;
use cenote_virtio::mmio::{PAGE_SIZE, StartError, Transport, TransportState, offset};
use kvm_ioctls::{IoEventAddress, VmFd};
use vmm_sys_util::eventfd::EventFd;

use crate::arch::layout;
use crate::memory::Memory;

/// What is written to acknowledge used buffers and nothing else.
const USED_BUFFERS: u32 = 1;

/// Why devices cannot be attached.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are more than the machine has interrupt lines for.
    #[error("{count} devices are too many: the machine has lines for {limit}")]
    TooMany {
        /// How many there are.
        count: usize,
        /// How many there can be.
        limit: usize,
    },
    /// No descriptors for events.
    #[error(
        "cannot make event descriptors for the {device} device: {source}; check the limit on open files"
    )]
    Events {
        /// Name of the device.
        device: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// KVM refuses an eventfd.
    #[error("KVM refuses the {device} device's {what}: {source}")]
    Refused {
        /// Name of the device.
        device: &'static str,
        /// Doorbell, acknowledgement or interrupt.
        what: &'static str,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
}

/// Where the guest finds a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Guest-physical address of the registers, one page.
    pub address: u64,
    /// The interrupt line.
    pub gsi: u32,
}

/// The slot of device `index`.
pub fn slot(index: usize) -> Slot {
    Slot {
        address: layout::REGISTERS + (index * PAGE_SIZE) as u64,
        gsi: layout::FIRST_GSI + index as u32,
    }
}

/// All devices.
pub struct Devices(Vec<Mutex<Transport>>);

impl Devices {
    /// Attaches `devices` to the machine, in this order.
    pub fn attach(
        vm: &VmFd,
        memory: &Memory,
        devices: Vec<Box<dyn Device>>,
    ) -> Result<Self, Error> {
        let limit = (layout::GSI_COUNT - layout::FIRST_GSI) as usize;
        let count = devices.len();
        if count > limit {
            return Err(Error::TooMany { count, limit });
        }
        let transports = devices
            .into_iter()
            .enumerate()
            .map(|(index, device)| attach(vm, memory, device, index).map(Mutex::new))
            .collect::<Result<_, _>>()?;
        Ok(Self(transports))
    }

    /// Where the devices are.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        (0..self.0.len()).map(slot)
    }

    /// The guest writes `data` at `address`, where no memory is that it may write.
    pub fn write(&self, address: u64, data: &[u8]) {
        let Some(at) = address.checked_sub(layout::REGISTERS) else {
            return;
        };
        let page = PAGE_SIZE as u64;
        let device = usize::try_from(at / page)
            .ok()
            .and_then(|index| self.0.get(index));
        match device {
            Some(device) => lock(device).write((at % page) as u32, data),
            // A stray write, most likely to an image, which nobody may change.
            None => tracing::debug!(address, "the guest writes where it may not"),
        }
    }

    /// Stops all devices: none touches guest memory after the return.
    pub fn pause(&self) {
        self.0.iter().for_each(|device| lock(device).pause());
    }

    /// Tells all devices that the guest is gone: whoever waits for it waits no longer.
    pub fn reset(&self) {
        self.0.iter().for_each(|device| lock(device).reset());
    }

    /// What a snapshot must keep of them, while paused.
    pub fn save(&self) -> Vec<TransportState> {
        self.0.iter().map(|device| lock(device).save()).collect()
    }

    /// Lets all devices go on.
    pub fn resume(&self) -> Result<(), StartError> {
        self.0.iter().try_for_each(|device| lock(device).resume())
    }
}

fn lock(device: &Mutex<Transport>) -> MutexGuard<'_, Transport> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attach(
    vm: &VmFd,
    memory: &Memory,
    device: Box<dyn Device>,
    index: usize,
) -> Result<Transport, Error> {
    let name = device.name();
    let events = |source| Error::Events {
        device: name,
        source,
    };
    let refused = |what| {
        move |source| Error::Refused {
            device: name,
            what,
            source,
        }
    };
    let Slot { address, gsi } = slot(index);
    let interrupt = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC).map_err(events)?;
    vm.register_irqfd(&interrupt, gsi)
        .map_err(refused("interrupt"))?;
    let transport = Transport::new(
        device,
        memory.registers().page(index),
        memory.for_devices(),
        to_owned(interrupt),
    )
    .map_err(events)?;
    let at = |register: u32| IoEventAddress::Mmio(address + u64::from(register));
    for (ring, doorbell) in (0u32..).zip(transport.doorbells()) {
        let doorbell = event(doorbell).map_err(events)?;
        vm.register_ioevent(&doorbell, &at(offset::QUEUE_NOTIFY), ring)
            .map_err(refused("doorbell"))?;
    }
    let acknowledged = event(&transport.acknowledged()).map_err(events)?;
    vm.register_ioevent(&acknowledged, &at(offset::INTERRUPT_ACK), USED_BUFFERS)
        .map_err(refused("acknowledgement"))?;
    Ok(transport)
}

fn to_owned(event: EventFd) -> OwnedFd {
    // SAFETY: the descriptor was owned by `event` alone, which gives it away.
    unsafe { OwnedFd::from_raw_fd(event.into_raw_fd()) }
}

/// Another descriptor of the same eventfd, in the type that KVM's wrapper takes.
fn event(descriptor: &impl AsFd) -> io::Result<EventFd> {
    let copy = descriptor.as_fd().try_clone_to_owned()?;
    // SAFETY: the copy is owned by nobody else.
    Ok(unsafe { EventFd::from_raw_fd(copy.into_raw_fd()) })
}
