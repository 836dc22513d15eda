//! Split virtqueues (virtio 1.2 section 2.7) as a device serves them.
//!
//! [`Ring`] is the only way from a device to a queue: take a [`Chain`] of buffers, give it back, tell the driver. The
//! ring arithmetic below it is `virtio-queue`'s; walking the chain is ours, because a device must know *why* a chain
//! ended: a broken one is given back unserved instead of being taken for a short one.

mod chain;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryError};

pub use chain::{Chain, ChainError};

use crate::device::Interrupt;
use crate::memory::Memory;

/// Why a ring cannot be served any more. The driver broke it; only a reset helps.
#[derive(Debug, Error)]
pub enum RingError {
    /// The set-up is not one that the specification allows, or lies outside of RAM.
    #[error(
        "ring {index}: size {size}, descriptors {desc_table:#x}, available {avail_ring:#x}, used {used_ring:#x} is no valid set-up: {reason}"
    )]
    SetUp {
        /// Index of the ring.
        index: u16,
        /// Number of entries.
        size: u16,
        /// Guest-physical address of the descriptor table.
        desc_table: u64,
        /// Guest-physical address of the available ring.
        avail_ring: u64,
        /// Guest-physical address of the used ring.
        used_ring: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The indices in guest memory contradict each other or cannot be reached.
    #[error("ring {index} is broken by its driver: {source}")]
    Broken {
        /// Index of the ring.
        index: u16,
        /// What the ring arithmetic met.
        source: virtio_queue::Error,
    },
    /// The available ring names a descriptor that does not exist.
    #[error("ring {index}: the driver offers descriptor {head} of {size}")]
    Head {
        /// Index of the ring.
        index: u16,
        /// The descriptor offered.
        head: u16,
        /// Number of entries.
        size: u16,
    },
}

/// Where the driver put a ring, and how far it has been served: all that must survive a pause or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingPosition {
    /// Next entry of the available ring to take.
    pub next_avail: u16,
    /// Next entry of the used ring to fill.
    pub next_used: u16,
}

/// Where the driver put a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingLayout {
    /// Number of entries, a power of two.
    pub size: u16,
    /// Guest-physical address of the descriptor table.
    pub desc_table: u64,
    /// Guest-physical address of the available ring.
    pub avail_ring: u64,
    /// Guest-physical address of the used ring.
    pub used_ring: u64,
}

/// One virtqueue in use.
pub struct Ring {
    index: u16,
    queue: Queue,
    event_idx: bool,
    memory: Memory,
    doorbell: OwnedFd,
    interrupt: Arc<dyn Interrupt>,
    /// The used index up to which the driver was told, or did not want to be.
    told: u16,
}

impl Ring {
    /// The ring `index` that the driver put at `layout`, served up to `position`. `doorbell` becomes readable when the
    /// driver offers buffers; `event_idx` says that VIRTIO_F_EVENT_IDX was accepted.
    pub fn new(
        index: u16,
        layout: RingLayout,
        position: RingPosition,
        event_idx: bool,
        memory: Memory,
        doorbell: OwnedFd,
        interrupt: Arc<dyn Interrupt>,
    ) -> Result<Self, RingError> {
        let refuse = |reason| RingError::SetUp {
            index,
            size: layout.size,
            desc_table: layout.desc_table,
            avail_ring: layout.avail_ring,
            used_ring: layout.used_ring,
            reason,
        };
        let mut queue = Queue::new(layout.size)
            .map_err(|_| refuse("the size is no power of two up to 32768"))?;
        queue
            .try_set_desc_table_address(GuestAddress(layout.desc_table))
            .and_then(|()| queue.try_set_avail_ring_address(GuestAddress(layout.avail_ring)))
            .and_then(|()| queue.try_set_used_ring_address(GuestAddress(layout.used_ring)))
            .map_err(|_| refuse("an address is not aligned"))?;
        queue.set_next_avail(position.next_avail);
        queue.set_next_used(position.next_used);
        queue.set_event_idx(event_idx);
        queue.set_ready(true);
        if layout.avail_ring == 0 || !queue.is_valid(memory.ram()) {
            return Err(refuse("it is not inside of RAM"));
        }
        Ok(Self {
            index,
            queue,
            event_idx,
            memory,
            doorbell,
            interrupt,
            told: position.next_used,
        })
    }

    /// Index of the ring in its device.
    pub fn index(&self) -> u16 {
        self.index
    }

    /// How far the ring has been served.
    pub fn position(&self) -> RingPosition {
        RingPosition {
            next_avail: self.queue.next_avail(),
            next_used: self.queue.next_used(),
        }
    }

    /// The descriptor that becomes readable when the driver offers buffers.
    pub fn doorbell(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// The memory that the chains of this ring name.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Takes the next chain that the driver offers, or `None` when there is none. A chain that cannot be walked is
    /// given back unserved at once, counted by the inner error, and must not be given back again.
    pub fn pop(&mut self) -> Result<Option<Result<Chain, ChainError>>, RingError> {
        let (index, ram) = (self.index, self.memory.ram());
        let mut offered = self.queue.iter(ram).map_err(broken(index))?;
        let Some(head) = offered.next().map(|chain| chain.head_index()) else {
            return Ok(None);
        };
        let size = self.queue.size();
        if head >= size {
            return Err(RingError::Head { index, head, size });
        }
        match Chain::walk(ram, self.queue.desc_table(), size, head) {
            Ok(chain) => Ok(Some(Ok(chain))),
            Err(error) => {
                self.give_back(head, 0)?;
                Ok(Some(Err(error)))
            }
        }
    }

    /// Puts the chain that was popped last back in front, as if it had not been taken.
    pub fn unpop(&mut self, chain: Chain) {
        drop(chain);
        self.queue.go_to_previous_position();
    }

    /// Puts back everything that was popped since [`position`](Self::position) told `next_avail`.
    pub fn rewind(&mut self, next_avail: u16) {
        self.queue.set_next_avail(next_avail);
    }

    /// Gives the chain back to the driver with `written` bytes stored in it.
    pub fn push(&mut self, chain: Chain, written: u32) -> Result<(), RingError> {
        self.give_back(chain.head, written)
    }

    /// Gives several chains back, each with the bytes stored in it. The driver sees all of them or none.
    pub fn push_together(
        &mut self,
        chains: impl IntoIterator<Item = (Chain, u32)>,
    ) -> Result<(), RingError> {
        for (chain, written) in chains {
            self.put_used(chain.head, written)?;
        }
        self.publish_used()
    }

    fn give_back(&mut self, head: u16, written: u32) -> Result<(), RingError> {
        self.put_used(head, written)?;
        self.publish_used()
    }

    /// Fills the next entry of the used ring (virtio 1.2 section 2.7.8), which the driver does not see yet.
    fn put_used(&mut self, head: u16, written: u32) -> Result<(), RingError> {
        let next = self.queue.next_used();
        let slot = self.queue.used_ring() + 4 + 8 * u64::from(next % self.queue.size());
        let element = [u32::from(head).to_le(), written.to_le()];
        self.memory
            .ram()
            .write_obj(element, GuestAddress(slot))
            .map_err(unreachable(self.index))?;
        self.queue.set_next_used(next.wrapping_add(1));
        Ok(())
    }

    fn publish_used(&mut self) -> Result<(), RingError> {
        let index = GuestAddress(self.queue.used_ring() + 2);
        self.memory
            .ram()
            .store(self.queue.next_used().to_le(), index, Ordering::Release)
            .map_err(unreachable(self.index))
    }

    /// How many chains were given back of which the driver was not told.
    pub fn untold(&self) -> u16 {
        self.queue.next_used().wrapping_sub(self.told)
    }

    /// Interrupts the driver if it wants to know of the chains given back since the last call (section 2.7.7).
    pub fn notify(&mut self) -> Result<(), RingError> {
        let used = self.queue.next_used();
        let told = mem::replace(&mut self.told, used);
        if used != told
            && self.wants_interrupt(told, used)?
            && let Err(error) = self.interrupt.used_buffers(self.index)
            && error.kind() != io::ErrorKind::WouldBlock
        {
            tracing::warn!(ring = self.index, %error, "cannot interrupt the guest");
        }
        Ok(())
    }

    /// Whether the driver asked for an interrupt when the used index goes from `told` to `used`.
    fn wants_interrupt(&self, told: u16, used: u16) -> Result<bool, RingError> {
        let flags = self.queue.avail_ring();
        let used_event = flags + 4 + 2 * u64::from(self.queue.size());
        let field = if self.event_idx { used_event } else { flags };
        // The driver must see the used index before we look whether it waits for it.
        fence(Ordering::SeqCst);
        let value: u16 = self
            .memory
            .ram()
            .load(GuestAddress(field), Ordering::Relaxed)
            .map_err(unreachable(self.index))?;
        let value = u16::from_le(value);
        Ok(if self.event_idx {
            used.wrapping_sub(value).wrapping_sub(1) < used.wrapping_sub(told)
        } else {
            value & VRING_AVAIL_F_NO_INTERRUPT as u16 == 0
        })
    }

    /// Asks the driver to ring the doorbell again. Returns whether buffers came in meanwhile, for which no bell rings.
    pub fn arm(&mut self) -> Result<bool, RingError> {
        self.queue
            .enable_notification(self.memory.ram())
            .map_err(broken(self.index))
    }

    /// Tells the driver that its doorbell is not needed while the ring is being served.
    pub fn disarm(&mut self) -> Result<(), RingError> {
        self.queue
            .disable_notification(self.memory.ram())
            .map_err(broken(self.index))
    }
}

fn broken(index: u16) -> impl Fn(virtio_queue::Error) -> RingError {
    move |source| RingError::Broken { index, source }
}

fn unreachable(index: u16) -> impl Fn(GuestMemoryError) -> RingError {
    move |source| broken(index)(virtio_queue::Error::GuestMemory(source))
}

#[cfg(test)]
mod tests;
