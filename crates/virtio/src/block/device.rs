//! The device as a transport sees it: identity, configuration space, and a worker for each queue.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_MQ,
    VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX, VIRTIO_BLK_F_TOPOLOGY, VIRTIO_BLK_F_WRITE_ZEROES,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use zerocopy::IntoBytes;

use super::config::Config;
use super::disk::Disk;
use super::worker::{Service, Shared};
use super::{BlockError, BlockSpec, BlockState};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature, read_config_from};
use crate::queue::{Ring, RingPosition};
use crate::queue_thread::QueueThread;

/// Most queues of a device. Each has a thread; more of them than a host's disk or memory can feed gain nothing.
pub const MAX_QUEUES: u16 = 16;
/// Entries of a queue: two more than a request may have buffers, and eight times the depth at which disks are measured.
const QUEUE_SIZE: u16 = 256;

/// A block device. See the [module](super).
pub struct Block {
    disk: Arc<Disk>,
    queue_sizes: Vec<u16>,
    config: Config,
    id: String,
    threads: Vec<Option<QueueThread>>,
}

impl Block {
    /// Opens the file.
    pub fn new(spec: &BlockSpec) -> Result<Self, BlockError> {
        let disk = Disk::open(spec)?;
        let queues = spec.queues.clamp(1, MAX_QUEUES);
        Ok(Self {
            config: Config::new(&disk, queues),
            disk: Arc::new(disk),
            queue_sizes: vec![QUEUE_SIZE; queues.into()],
            id: spec.id.clone(),
            threads: Vec::new(),
        })
    }

    /// A device that takes the place of the one that was saved as `state`, on a file with the same bytes.
    pub fn restore(state: &BlockState, path: PathBuf) -> Result<Self, BlockError> {
        let spec = BlockSpec {
            path,
            read_only: state.read_only,
            ephemeral: state.ephemeral,
            queues: state.queues,
            id: state.id.clone(),
        };
        let device = Self::new(&spec)?;
        let (found, saved) = (device.disk.sectors(), state.sectors);
        if found != saved {
            let path = spec.path;
            return Err(BlockError::SizeChanged { path, found, saved });
        }
        Ok(device)
    }
}

impl Device for Block {
    fn name(&self) -> &'static str {
        "block"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        let always = 1 << VIRTIO_BLK_F_SEG_MAX
            | 1 << VIRTIO_BLK_F_BLK_SIZE
            | 1 << VIRTIO_BLK_F_TOPOLOGY
            | 1 << VIRTIO_BLK_F_MQ;
        let kind = if self.disk.is_read_only() {
            1 << VIRTIO_BLK_F_RO
        } else {
            1 << VIRTIO_BLK_F_FLUSH | 1 << VIRTIO_BLK_F_DISCARD | 1 << VIRTIO_BLK_F_WRITE_ZEROES
        };
        feature::RING | always | kind
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(self.config.as_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        // Without flushes the driver relies on each write (virtio 1.2 section 5.2.6.2).
        let knows_flush = activation.features & 1 << VIRTIO_BLK_F_FLUSH != 0;
        let shared = Arc::new(Shared {
            disk: Arc::clone(&self.disk),
            write_through: !knows_flush && !self.disk.is_ephemeral(),
        });
        let start = |ring: Ring| {
            let shared = Arc::clone(&shared);
            QueueThread::start(self.name(), ring, move |ring, waiter| {
                let memory = ring.memory().clone();
                Service::new(ring, &shared, &memory, waiter).run()
            })
        };
        self.threads = activation
            .rings
            .into_iter()
            .map(|ring| ring.map(start).transpose())
            .collect::<Result<_, _>>()
            .map_err(|source| ActivateError::Resources {
                device: self.name(),
                call: "starting a queue's thread",
                source,
            })?;
        Ok(())
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        QueueThread::stop_all(mem::take(&mut self.threads))
    }

    fn save(&self) -> DeviceState {
        DeviceState::Block(BlockState {
            sectors: self.disk.sectors(),
            read_only: self.disk.is_read_only(),
            ephemeral: self.disk.is_ephemeral(),
            queues: self.queue_sizes.len() as u16,
            id: self.id.clone(),
        })
    }
}
