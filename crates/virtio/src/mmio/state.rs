//! What a snapshot keeps of a transport, beside its device.

use serde::{Deserialize, Serialize};

use super::{StartError, Transport, offset};
use crate::device::DeviceState;
use crate::queue::{RingLayout, RingPosition};

/// A transport and its device, while paused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportState {
    /// The device.
    pub device: DeviceState,
    /// `Status`.
    pub status: u32,
    /// `InterruptStatus`.
    pub interrupt_status: u32,
    /// `ConfigGeneration`.
    pub config_generation: u32,
    /// Features that the driver has accepted so far.
    pub features: u64,
    /// `DeviceFeaturesSel`.
    pub device_features_sel: u32,
    /// `DriverFeaturesSel`.
    pub driver_features_sel: u32,
    /// `QueueSel`.
    pub queue_sel: u32,
    /// The rings by index.
    pub queues: Vec<QueueState>,
}

/// One ring as its driver set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Entries; 0 until the driver has chosen.
    pub size: u16,
    /// `QueueReady`.
    pub ready: bool,
    /// Guest-physical address of the descriptor table.
    pub desc_table: u64,
    /// Guest-physical address of the available ring.
    pub avail_ring: u64,
    /// Guest-physical address of the used ring.
    pub used_ring: u64,
    /// How far it has been served.
    pub position: RingPosition,
}

impl Default for QueueState {
    fn default() -> Self {
        Self {
            size: 0,
            ready: false,
            desc_table: 0,
            avail_ring: 0,
            used_ring: 0,
            position: RingPosition {
                next_avail: 0,
                next_used: 0,
            },
        }
    }
}

impl QueueState {
    pub(super) fn layout(&self) -> RingLayout {
        RingLayout {
            size: self.size,
            desc_table: self.desc_table,
            avail_ring: self.avail_ring,
            used_ring: self.used_ring,
        }
    }
}

impl Transport {
    /// What a snapshot must keep. Call it while paused.
    #[must_use]
    pub fn save(&self) -> TransportState {
        TransportState {
            device: self.device.save(),
            status: self.status(),
            interrupt_status: self.registers.get(offset::INTERRUPT_STATUS),
            config_generation: self.registers.get(offset::CONFIG_GENERATION),
            features: self.features,
            device_features_sel: self.feature_word,
            driver_features_sel: self.registers.get(offset::DRIVER_FEATURES_SEL),
            queue_sel: self.queue,
            queues: self.queues.clone(),
        }
    }

    /// Makes a new transport go on as the saved one: its device was made of `state.device`, and guest memory is as it
    /// was. Rings that the device does not have are dropped.
    ///
    /// # Errors
    /// When the device cannot start.
    pub fn restore(&mut self, state: &TransportState) -> Result<(), StartError> {
        self.features = state.features;
        self.feature_word = state.device_features_sel;
        self.queue = state.queue_sel;
        for (queue, saved) in self.queues.iter_mut().zip(&state.queues) {
            *queue = *saved;
        }
        for (register, value) in [
            (offset::STATUS, state.status),
            (offset::INTERRUPT_STATUS, state.interrupt_status),
            (offset::CONFIG_GENERATION, state.config_generation),
            (offset::DRIVER_FEATURES_SEL, state.driver_features_sel),
        ] {
            self.registers.set(register, value);
        }
        self.show_features();
        self.show_queue();
        self.show_config();
        self.resume()
    }
}
