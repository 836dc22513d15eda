//! The requests of a front-end, turned into calls of the device.

use std::fs::File;
use std::io;
use std::sync::Arc;

use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVirtioFeatures,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};

use super::regions::{MAX_REGIONS, Regions};
use super::rings::{Calls, RingSetUp};
use crate::device::{Activation, Device, feature};
use crate::memory::{Memory, Windows};

/// The feature bit by which the front-end learns that there are protocol features.
pub const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// Largest piece of configuration space that is read or written at once; no device of ours has more.
const MAX_CONFIG: u32 = 256;

/// A device and what the front-end has set up for it.
pub struct Backend {
    device: Box<dyn Device>,
    features: u64,
    regions: Regions,
    windows: Arc<Windows>,
    memory: Option<Memory>,
    rings: Vec<RingSetUp>,
    calls: Arc<Calls>,
    /// The rings that the device serves now.
    running: Vec<bool>,
}

impl Backend {
    /// `device`, idle, of a guest that has `windows` beside its RAM.
    pub fn new(device: Box<dyn Device>, windows: Arc<Windows>) -> Self {
        let count = device.queue_sizes().len();
        Self {
            features: 0,
            regions: Regions::default(),
            windows,
            memory: None,
            rings: (0..count).map(|_| RingSetUp::default()).collect(),
            calls: Arc::new(Calls::new(count)),
            running: vec![false; count],
            device,
        }
    }

    /// The front-end has gone away: its memory is let go.
    pub fn frontend_gone(&mut self) {
        self.pause();
        self.device.reset();
        self.memory = None;
        self.regions.clear();
    }

    fn ring(&mut self, index: u32) -> Result<&mut RingSetUp> {
        self.rings
            .get_mut(index as usize)
            .ok_or(Error::InvalidParam)
    }

    fn pause(&mut self) {
        if !self.running.contains(&true) {
            return;
        }
        for (ring, position) in self.rings.iter_mut().zip(self.device.pause()) {
            if let Some(position) = position {
                ring.served_to(position);
            }
        }
        self.running.fill(false);
    }

    /// Lets the device serve exactly the rings that are started and enabled.
    fn settle(&mut self) -> Result<()> {
        let always_enabled = self.features & PROTOCOL_FEATURES == 0;
        let wanted: Vec<bool> = self
            .rings
            .iter()
            .map(|r| r.is_started() && (r.enabled || always_enabled))
            .collect();
        if wanted == self.running {
            return Ok(());
        }
        self.pause();
        let Some(memory) = self.memory.clone().filter(|_| wanted.contains(&true)) else {
            return Ok(());
        };
        let event_idx = self.features & 1 << feature::VIRTIO_RING_F_EVENT_IDX != 0;
        let mut rings = Vec::with_capacity(wanted.len());
        for ((index, set_up), wanted) in (0..).zip(&self.rings).zip(&wanted) {
            let ring = wanted
                .then(|| set_up.ring(index, event_idx, &memory, self.calls.clone()))
                .transpose()?;
            rings.push(ring);
        }
        let features = self.features & !PROTOCOL_FEATURES;
        self.device
            .activate(Activation {
                memory,
                features,
                rings,
                interrupt: self.calls.clone(),
            })
            .map_err(|error| Error::ReqHandlerError(io::Error::other(error)))?;
        self.running = wanted;
        Ok(())
    }

    /// Makes the device see the regions as they are now.
    fn remap(&mut self) -> Result<()> {
        self.pause();
        self.memory = Some(self.regions.memory(&self.windows)?);
        self.settle()
    }
}

fn unsupported<T>(request: &'static str) -> Result<T> {
    Err(Error::InvalidOperation(request))
}

impl VhostUserBackendReqHandlerMut for Backend {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        self.pause();
        self.device.reset();
        self.rings.iter_mut().for_each(|ring| ring.enabled = false);
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.device.features() | PROTOCOL_FEATURES)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        if features & !(self.device.features() | PROTOCOL_FEATURES) != 0 {
            return Err(Error::InvalidParam);
        }
        self.pause();
        self.features = features;
        self.settle()
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    }

    fn set_protocol_features(&mut self, _features: u64) -> Result<()> {
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_mem_table(
        &mut self,
        regions: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.pause();
        self.regions.clear();
        for (region, file) in regions.iter().zip(files) {
            self.regions.add(region, file)?;
        }
        self.remap().map(|()| None)
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Ok(MAX_REGIONS as u64)
    }

    fn add_mem_region(
        &mut self,
        region: &VhostUserSingleMemoryRegion,
        file: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        self.regions.add(region, file)?;
        self.remap().map(|()| None)
    }

    fn remove_mem_region(&mut self, region: &VhostUserSingleMemoryRegion) -> Result<()> {
        self.regions.remove(region)?;
        self.remap()
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        self.ring(index)?.set_size(num)
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let descriptor = self.regions.guest_addr(descriptor)?;
        let available = self.regions.guest_addr(available)?;
        let used = self.regions.guest_addr(used)?;
        self.ring(index)?.set_addresses(descriptor, available, used);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        if self.ring(index)?.set_base(base)? {
            self.pause();
            self.device.reset();
        }
        self.settle()
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        self.ring(index)?;
        self.pause();
        let base = self.ring(index)?.stop();
        self.calls.set(index as usize, None)?;
        self.settle()?;
        Ok(VhostUserVringState::new(index, u32::from(base)))
    }

    fn set_vring_kick(&mut self, index: u8, kick: Option<File>) -> Result<()> {
        let kick = kick.ok_or(Error::InvalidOperation("a ring without a doorbell"))?;
        self.pause();
        self.ring(index.into())?.set_kick(Some(kick));
        self.settle()
    }

    fn set_vring_call(&mut self, index: u8, call: Option<File>) -> Result<()> {
        self.calls.set(index.into(), call)
    }

    fn set_vring_err(&mut self, index: u8, _err: Option<File>) -> Result<()> {
        self.ring(index.into()).map(|_| ())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.ring(index)?.enabled = enable;
        self.settle()
    }

    fn get_config(
        &mut self,
        offset: u32,
        size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        if size > MAX_CONFIG {
            return Err(Error::InvalidParam);
        }
        let mut config = vec![0; size as usize];
        self.device.read_config(offset.into(), &mut config);
        Ok(config)
    }

    fn set_config(&mut self, offset: u32, data: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        self.device.write_config(offset.into(), data);
        Ok(())
    }

    fn set_gpu_socket(&mut self, _gpu: GpuBackend) -> Result<()> {
        unsupported("the device is no display")
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        unsupported("the device shares no objects")
    }

    fn get_inflight_fd(
        &mut self,
        _inflight: &VhostUserInflight,
    ) -> Result<(VhostUserInflight, File)> {
        unsupported("requests in flight are not tracked")
    }

    fn set_inflight_fd(&mut self, _inflight: &VhostUserInflight, _file: File) -> Result<()> {
        unsupported("requests in flight are not tracked")
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _file: File,
    ) -> Result<Option<File>> {
        unsupported("the device does not migrate over vhost-user")
    }

    fn check_device_state(&mut self) -> Result<()> {
        unsupported("the device does not migrate over vhost-user")
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        unsupported("the device has no shared memory regions")
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        unsupported("dirty pages are not logged")
    }
}
