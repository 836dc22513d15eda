//! A thread that serves one queue, for devices whose queues are served side by side. It exists only while the driver has
//! set the device up.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use crate::queue::{Ring, RingPosition};

/// Events taken from epoll at once: doorbell, bell, and what else the queue waits for.
const EVENTS: usize = 3;

/// A running thread. Dropping it stops it.
pub struct QueueThread {
    device: &'static str,
    stop: Arc<Stop>,
    thread: Option<JoinHandle<Option<RingPosition>>>,
}

struct Stop {
    asked: AtomicBool,
    bell: OwnedFd,
}

impl QueueThread {
    /// Starts a thread of the device named `device` that serves `ring` by `serve`, which ends soon after
    /// [`Waiter::is_over`] and returns where the ring stands, or `None` if its driver broke it.
    pub fn start(
        device: &'static str,
        ring: Ring,
        serve: impl FnOnce(Ring, &Waiter) -> Option<RingPosition> + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(Stop {
            asked: AtomicBool::new(false),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        });
        let waiter = Waiter {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            stop: Arc::clone(&stop),
        };
        waiter.watch(ring.doorbell())?;
        waiter.watch(&stop.bell)?;
        let thread = thread::Builder::new()
            .name(format!("{device}-{}", ring.index()))
            .spawn(move || serve(ring, &waiter))?;
        Ok(Self {
            device,
            stop,
            thread: Some(thread),
        })
    }

    /// Asks all `threads` to stop, and waits for them: so the slowest request is waited for once. Returns where the rings
    /// stand.
    pub fn stop_all(threads: Vec<Option<Self>>) -> Vec<Option<RingPosition>> {
        threads.iter().flatten().for_each(Self::ask_to_stop);
        threads
            .into_iter()
            .map(|thread| thread.and_then(|mut thread| thread.join()))
            .collect()
    }

    fn ask_to_stop(&self) {
        self.stop.asked.store(true, Ordering::Release);
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.stop.bell, &1u64.to_ne_bytes());
    }

    fn join(&mut self) -> Option<RingPosition> {
        let thread = self.thread.take()?;
        self.ask_to_stop();
        thread.join().unwrap_or_else(|_| {
            tracing::error!(device = self.device, "a queue's thread has panicked");
            None
        })
    }
}

impl Drop for QueueThread {
    fn drop(&mut self) {
        self.join();
    }
}

/// What the thread waits with.
pub struct Waiter {
    epoll: OwnedFd,
    stop: Arc<Stop>,
}

impl Waiter {
    /// Whether the thread shall end.
    pub fn is_over(&self) -> bool {
        self.stop.asked.load(Ordering::Acquire)
    }

    /// Wakes the thread when `fd` becomes readable. All descriptors only wake it to look at everything, so they are
    /// edge-triggered and not read.
    pub fn watch(&self, fd: impl AsFd) -> io::Result<()> {
        let edge = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.epoll, fd, EventData::new_u64(0), edge)?)
    }

    /// Waits until something that is watched becomes readable or the thread shall end; `false` if `limit` is over before.
    pub fn wait(&self, limit: Option<Duration>) -> io::Result<bool> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: limit.subsec_nanos().into(),
        });
        let mut events = [MaybeUninit::uninit(); EVENTS];
        match epoll::wait(&self.epoll, &mut events, limit.as_ref()) {
            Ok((woken, _)) => Ok(!woken.is_empty()),
            Err(Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// A waiter that nobody wakes, for tests and fuzzing.
    #[cfg(any(test, feature = "testing"))]
    pub fn idle() -> Self {
        Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).expect("an epoll"),
            stop: Arc::new(Stop {
                asked: AtomicBool::new(false),
                bell: eventfd(0, EventfdFlags::CLOEXEC).expect("an eventfd"),
            }),
        }
    }
}
