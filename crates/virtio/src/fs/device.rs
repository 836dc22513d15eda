//! The device as a transport sees it: identity, configuration space, and a thread for each queue.

use std::io;
use std::mem;
use std::sync::{Arc, mpsc};

use cenote_fuse::passthrough::WorkerError;
use cenote_fuse::server::Server;
use rustix::io::Errno;
use virtio_bindings::virtio_ids::VIRTIO_ID_FS;
use zerocopy::little_endian::U32;
use zerocopy::{Immutable, IntoBytes};

use super::aside::{Answered, Aside};
use super::worker::Service;
use super::{FsError, FsSpec, FsState, Waiting};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature, read_config_from};
use crate::queue::{Ring, RingPosition};
use crate::queue_thread::QueueThread;

/// Most request queues of a device. Each has a thread; more of them than a host's disk or memory can feed gain nothing.
pub const MAX_QUEUES: u16 = 16;
/// The longest tag in bytes.
pub const TAG_LEN: usize = 36;
/// Entries of a queue. Linux bounds a request by them: so many hold the pages of the longest one, 1 MiB, and its headers.
pub const QUEUE_SIZE: u16 = 512;
/// Queues in front of the request queues: the one for requests of high priority.
const HIGH_PRIORITY: usize = 1;

/// `struct virtio_fs_config` (section 5.11.4).
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Config {
    tag: [u8; TAG_LEN],
    num_request_queues: U32,
}

/// A file-system device. See the [module](super).
pub struct Fs {
    tag: String,
    server: Arc<Server>,
    queue_sizes: Vec<u16>,
    config: Config,
    threads: Vec<Option<QueueThread>>,
    /// By queue. As many as there are queues once the device was active.
    aside: Vec<Arc<Aside>>,
    /// What a snapshot said to be under way.
    restored: Vec<Waiting>,
}

impl Fs {
    /// A device for the server's directory.
    pub fn new(spec: FsSpec) -> Result<Self, FsError> {
        let FsSpec {
            tag,
            queues,
            server,
        } = spec;
        if tag.is_empty() || tag.len() > TAG_LEN || tag.contains('\0') {
            return Err(FsError::Tag { tag });
        }
        let queues = queues.clamp(1, MAX_QUEUES);
        let mut config = Config {
            tag: [0; TAG_LEN],
            num_request_queues: u32::from(queues).into(),
        };
        config.tag[..tag.len()].copy_from_slice(tag.as_bytes());
        Ok(Self {
            tag,
            server,
            queue_sizes: vec![QUEUE_SIZE; HIGH_PRIORITY + usize::from(queues)],
            config,
            threads: Vec::new(),
            aside: Vec::new(),
            restored: Vec::new(),
        })
    }

    /// A device that takes the place of the one that was saved as `state`.
    pub fn restore(state: FsState, server: Arc<Server>) -> Result<Self, FsError> {
        let mut device = Self::new(FsSpec {
            tag: state.tag,
            queues: state.queues,
            server,
        })?;
        device.restored = state.waiting;
        Ok(device)
    }

    /// Where chains are kept that are answered later, for each queue.
    fn prepare_aside(&mut self) -> io::Result<()> {
        while self.aside.len() < self.queue_sizes.len() {
            self.aside.push(Aside::new()?);
        }
        for Waiting {
            queue,
            unique,
            chain,
        } in mem::take(&mut self.restored)
        {
            if let Some(aside) = self.aside.get(usize::from(queue)) {
                aside.answer(Answered {
                    unique,
                    chain,
                    result: Err(Errno::INTR),
                });
            }
        }
        Ok(())
    }

    /// Starts the thread of a ring, and waits until it can serve.
    fn start(&self, ring: Ring, aside: Arc<Aside>) -> Result<QueueThread, ActivateError> {
        let server = Arc::clone(&self.server);
        let (ready, started) = mpsc::channel::<Result<(), WorkerError>>();
        let thread = QueueThread::start(self.name(), ring, move |ring, waiter| {
            let worker = match server.directory().worker() {
                Ok(worker) => worker,
                Err(error) => {
                    drop(ready.send(Err(error)));
                    return Some(ring.position());
                }
            };
            // Fails only if nobody waits for it any more.
            drop(ready.send(Ok(())));
            let memory = ring.memory().clone();
            if let Err(error) = waiter.watch(aside.bell()) {
                tracing::error!(%error, "fs: locks that are waited for will not be noticed");
            }
            Service::new(ring, &server, &memory, &aside, worker).run(waiter)
        })
        .map_err(|source| self.resources("starting a queue's thread", source))?;
        match started.recv() {
            Ok(result) => result.map(|()| thread).map_err(Into::into),
            Err(_) => Err(ActivateError::WorkerGone {
                device: self.name(),
            }),
        }
    }

    fn resources(&self, call: &'static str, source: io::Error) -> ActivateError {
        ActivateError::Resources {
            device: self.name(),
            call,
            source,
        }
    }
}

impl Device for Fs {
    fn name(&self) -> &'static str {
        "fs"
    }

    fn device_type(&self) -> u32 {
        VIRTIO_ID_FS
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &self.queue_sizes
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        read_config_from(self.config.as_bytes(), offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        self.prepare_aside()
            .map_err(|source| self.resources("eventfd", source))?;
        self.threads = activation
            .rings
            .into_iter()
            .zip(&self.aside)
            .map(|(ring, aside)| {
                ring.map(|ring| self.start(ring, Arc::clone(aside)))
                    .transpose()
            })
            .collect::<Result<_, _>>()?;
        Ok(())
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        QueueThread::stop_all(mem::take(&mut self.threads))
    }

    fn reset(&mut self) {
        self.aside.clear();
        self.restored.clear();
        self.server.client_gone();
    }

    fn save(&self) -> DeviceState {
        let waiting = (0..).zip(&self.aside).flat_map(|(queue, aside)| {
            let under_way = aside.under_way().into_iter();
            under_way.map(move |(unique, chain)| Waiting {
                queue,
                unique,
                chain,
            })
        });
        DeviceState::Fs(FsState {
            tag: self.tag.clone(),
            queues: (self.queue_sizes.len() - HIGH_PRIORITY) as u16,
            waiting: waiting.chain(self.restored.iter().cloned()).collect(),
        })
    }
}
