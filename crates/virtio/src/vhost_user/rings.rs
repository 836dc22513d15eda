//! The rings as the front-end sets them up, and the call descriptors by which they interrupt.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use vhost::vhost_user::Error as ProtocolError;
use vm_memory::{Bytes, GuestAddress};

use crate::device::Interrupt;
use crate::memory::Memory;
use crate::queue::{Ring, RingLayout, RingPosition};

/// Call descriptors by ring. The front-end exchanges them while the device runs.
pub struct Calls(Vec<Mutex<Option<File>>>);

impl Calls {
    /// None yet, for `count` rings.
    pub fn new(count: usize) -> Self {
        Self((0..count).map(|_| Mutex::new(None)).collect())
    }

    /// Sets the descriptor of ring `index`.
    pub fn set(&self, index: usize, call: Option<File>) -> Result<(), ProtocolError> {
        let slot = self.0.get(index).ok_or(ProtocolError::InvalidParam)?;
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = call;
        Ok(())
    }
}

impl Interrupt for Calls {
    fn used_buffers(&self, index: u16) -> io::Result<()> {
        let Some(slot) = self.0.get(usize::from(index)) else {
            return Ok(());
        };
        match &*slot.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(call) => (&*call).write_all(&1u64.to_ne_bytes()),
            // The front-end polls the ring instead.
            None => Ok(()),
        }
    }

    fn config_changed(&self, _config: &[u8]) -> io::Result<()> {
        // Needs the back-end channel, which no device of ours has asked for yet.
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// One ring's set-up.
#[derive(Default)]
pub struct RingSetUp {
    /// Number of entries; 0 until it is told.
    size: u16,
    /// Where the parts are in guest-physical memory, once told.
    addresses: Option<(u64, u64, u64)>,
    next_avail: u16,
    /// Where the ring stood when the front-end stopped it.
    stopped_at: Option<u16>,
    kick: Option<File>,
    /// Whether the front-end wants data to flow.
    pub enabled: bool,
}

impl RingSetUp {
    /// Sets the number of entries. The front-end's own device model has agreed on it with the driver, so that whatever the
    /// specification allows is accepted (up to 32768, virtio 1.2 section 2.7).
    pub fn set_size(&mut self, size: u32) -> Result<(), ProtocolError> {
        self.size = u16::try_from(size)
            .ok()
            .filter(|size| size.is_power_of_two())
            .ok_or(ProtocolError::InvalidParam)?;
        Ok(())
    }

    /// Sets where the parts are.
    pub fn set_addresses(&mut self, desc_table: u64, avail_ring: u64, used_ring: u64) {
        self.addresses = Some((desc_table, avail_ring, used_ring));
    }

    /// Sets the next available entry to serve. Returns whether a driver starts anew, instead of the one going on that
    /// was stopped there.
    pub fn set_base(&mut self, base: u32) -> Result<bool, ProtocolError> {
        self.next_avail = u16::try_from(base).map_err(|_| ProtocolError::InvalidParam)?;
        Ok(self.stopped_at.take() != Some(self.next_avail))
    }

    /// Sets or takes away the doorbell.
    pub fn set_kick(&mut self, kick: Option<File>) {
        self.kick = kick;
    }

    /// Whether the ring can be served.
    pub fn is_started(&self) -> bool {
        self.size > 0 && self.addresses.is_some() && self.kick.is_some()
    }

    /// Stops the ring; returns where it stands.
    pub fn stop(&mut self) -> u16 {
        self.kick = None;
        self.stopped_at = Some(self.next_avail);
        self.next_avail
    }

    /// The device has served the ring up to `position`.
    pub fn served_to(&mut self, position: RingPosition) {
        self.next_avail = position.next_avail;
    }

    /// The ring, ready to be served.
    pub fn ring(
        &self,
        index: u16,
        event_idx: bool,
        memory: &Memory,
        interrupt: Arc<dyn Interrupt>,
    ) -> Result<Ring, ProtocolError> {
        let ((desc_table, avail_ring, used_ring), kick) = self
            .addresses
            .zip(self.kick.as_ref())
            .ok_or(ProtocolError::InvalidOperation("ring is not started"))?;
        let layout = RingLayout {
            size: self.size,
            desc_table,
            avail_ring,
            used_ring,
        };
        // The protocol carries the available index only; the used one is where the device left it in memory.
        let used: u16 = memory
            .ram()
            .read_obj(GuestAddress(used_ring.wrapping_add(2)))
            .map_err(|error| ProtocolError::ReqHandlerError(io::Error::other(error)))?;
        let position = RingPosition {
            next_avail: self.next_avail,
            next_used: u16::from_le(used),
        };
        let doorbell = kick.try_clone().map_err(ProtocolError::ReqHandlerError)?;
        Ring::new(
            index,
            layout,
            position,
            event_idx,
            memory.clone(),
            doorbell.into(),
            interrupt,
        )
        .map_err(|error| ProtocolError::ReqHandlerError(io::Error::other(error)))
    }
}
