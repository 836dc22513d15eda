//! The thread that serves a device whose requests are simple: one epoll over its doorbells and a few descriptors of the
//! host. It exists only while the driver has set the device up.
//!
//! A guest that asks without end keeps its own device's thread busy and nothing else: every round is bounded, and
//! between two rounds the thread looks whether it should stop.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::device::ActivateError;
use crate::queue::{Chain, Ring, RingError, RingPosition};

/// Chains taken from a ring in one round, before other rings get their turn. It also bounds what a driver can make us
/// hold that offers more than its ring has entries.
const BATCH: usize = 64;
/// Events taken from epoll at once.
const EVENTS: usize = 16;
/// epoll number of the bell that ends the thread.
const STOP: u64 = 0;
/// epoll number of everything else: whatever wakes the thread, it looks at all rings.
const WORK: u64 = 1;

/// The rings of an activation, by index.
type Rings = Vec<Option<Ring>>;

/// What a device does with its rings.
pub trait Service: Send + 'static {
    /// One bounded round over `ring`. Returns whether there is more to do without waiting; if not, the ring's doorbell
    /// must be armed as far as it matters.
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError>;

    /// Descriptors of the host that cause a round when they become readable or writable, like doorbells.
    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        Vec::new()
    }

    /// Whether a round is due when the descriptors become writable. Asked after every round: a stream socket becomes
    /// writable again and again while its other end reads.
    fn waits_to_write(&self) -> bool {
        true
    }

    /// Called after every round. Returns how long the thread may wait for the next one at most.
    fn wait_at_most(&mut self) -> Option<Duration> {
        None
    }
}

/// Takes what waits in `ring`, up to a batch. The second value tells whether there may be more; if not, the driver's
/// next buffers ring the doorbell. [`Ring::notify`] must follow, also when no chain was usable.
pub fn take_batch(ring: &mut Ring) -> Result<(Vec<Chain>, bool), RingError> {
    ring.disarm()?;
    let mut chains = Vec::new();
    for _ in 0..BATCH {
        match ring.pop()? {
            Some(Ok(chain)) => chains.push(chain),
            Some(Err(error)) => {
                tracing::debug!(ring = ring.index(), %error, "an unusable chain is given back");
            }
            None if ring.arm()? => {}
            None => return Ok((chains, false)),
        }
    }
    Ok((chains, true))
}

/// A device's service, and the thread that runs it from [`start`](Self::start) to [`stop`](Self::stop).
pub struct Worker<S> {
    device: &'static str,
    service: Arc<Mutex<S>>,
    running: Option<Running>,
}

struct Running {
    stop: OwnedFd,
    thread: JoinHandle<Rings>,
}

impl<S: Service> Worker<S> {
    /// A worker of the device named `device`, not running yet.
    pub fn new(device: &'static str, service: S) -> Self {
        Self {
            device,
            service: Arc::new(Mutex::new(service)),
            running: None,
        }
    }

    /// Serves `rings` on a thread of its own.
    pub fn start(&mut self, rings: Rings) -> Result<(), ActivateError> {
        self.stop();
        if self.service.is_poisoned() {
            return Err(ActivateError::WorkerGone {
                device: self.device,
            });
        }
        let resources = |call: &'static str| {
            let device = self.device;
            move |source: io::Error| ActivateError::Resources {
                device,
                call,
                source,
            }
        };
        let stop = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)
            .map_err(|error| resources("eventfd")(error.into()))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)
            .map_err(|error| resources("epoll_create")(error.into()))?;
        self.watch(&epoll, &stop, &rings)
            .map_err(|error| resources("epoll_ctl")(error.into()))?;
        let mut round = Round {
            device: self.device,
            epoll,
            rings,
            to_write: self.service().waits_to_write(),
        };
        let service = Arc::clone(&self.service);
        let thread = thread::Builder::new()
            .name(self.device.into())
            .spawn(move || {
                let mut service = service.lock().unwrap_or_else(PoisonError::into_inner);
                round.run(&mut *service);
                round.rings
            })
            .map_err(resources("clone"))?;
        self.running = Some(Running { stop, thread });
        Ok(())
    }

    /// Everything is edge-triggered, so that bells need not be read: a round looks at all rings.
    fn watch(&self, epoll: &OwnedFd, stop: &OwnedFd, rings: &Rings) -> Result<(), Errno> {
        let edge = EventFlags::IN | EventFlags::ET;
        epoll::add(epoll, stop, EventData::new_u64(STOP), edge)?;
        for ring in rings.iter().flatten() {
            epoll::add(epoll, ring.doorbell(), EventData::new_u64(WORK), edge)?;
        }
        let service = self.service();
        let flags = source_flags(service.waits_to_write());
        for source in service.sources() {
            match epoll::add(epoll, source, EventData::new_u64(WORK), flags) {
                // A regular file: it never makes anybody wait.
                Ok(()) | Err(Errno::PERM) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl<S> Worker<S> {
    /// Ends the thread; returns where the rings stood. Nothing when it does not run.
    pub fn stop(&mut self) -> Vec<Option<RingPosition>> {
        let Some(Running { stop, thread }) = self.running.take() else {
            return Vec::new();
        };
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&stop, &1u64.to_ne_bytes());
        let Ok(rings) = thread.join() else {
            tracing::error!(device = self.device, "the worker has panicked");
            return Vec::new();
        };
        rings
            .iter()
            .map(|ring| ring.as_ref().map(Ring::position))
            .collect()
    }

    /// The service of a worker that does not run; waits for its end otherwise.
    pub fn service(&self) -> MutexGuard<'_, S> {
        self.service.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What is waited for at a descriptor of the host.
fn source_flags(to_write: bool) -> EventFlags {
    let read = EventFlags::IN | EventFlags::ET;
    if to_write {
        read | EventFlags::OUT
    } else {
        read
    }
}

/// The thread's own state.
struct Round {
    device: &'static str,
    epoll: OwnedFd,
    rings: Rings,
    /// Whether the descriptors of the host are watched for becoming writable.
    to_write: bool,
}

impl Round {
    fn run(&mut self, service: &mut impl Service) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let busy = self.serve_rings(service);
            self.watch_writing(service);
            let limit = service.wait_at_most();
            let limit = if busy { Some(Duration::ZERO) } else { limit };
            let limit = limit.map(|limit| Timespec {
                tv_sec: limit.as_secs() as i64,
                tv_nsec: limit.subsec_nanos().into(),
            });
            match epoll::wait(&self.epoll, spare_capacity(&mut events), limit.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return tracing::error!(device = self.device, %error, "cannot wait for events; the device stops");
                }
            }
            if events.drain(..).any(|event| event.data.u64() == STOP) {
                return;
            }
        }
    }

    /// Watches the descriptors of the host as the service wants it now. One that is writable already is reported.
    fn watch_writing(&mut self, service: &impl Service) {
        let to_write = service.waits_to_write();
        if self.to_write == to_write {
            return;
        }
        self.to_write = to_write;
        for source in service.sources() {
            let (data, flags) = (EventData::new_u64(WORK), source_flags(to_write));
            // Fails only for a regular file, which is not watched.
            let _ = epoll::modify(&self.epoll, source, data, flags);
        }
    }

    /// One round over the rings. Returns whether there is more to do without waiting.
    fn serve_rings(&mut self, service: &mut impl Service) -> bool {
        let mut busy = false;
        for slot in &mut self.rings {
            let Some(ring) = slot else { continue };
            match service.serve(ring) {
                Ok(more) => busy |= more,
                Err(error) => {
                    tracing::error!(device = self.device, %error, "a ring is out of service until the guest resets the device");
                    // Its other owners keep the doorbell open, so closing ours does not take it out of epoll.
                    let _ = epoll::delete(&self.epoll, ring.doorbell());
                    *slot = None;
                }
            }
        }
        busy
    }
}

#[cfg(any(test, feature = "testing"))]
pub mod fuzz;

#[cfg(test)]
mod tests;
