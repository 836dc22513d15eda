//! Requests as they are served, for whoever traces them.

use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cenote_fuse::server::Served;
use cenote_protocol::is_traced;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Observed;

/// Requests that wait to be told of; those beyond are counted as lost, for no request waits for its tracing.
const BACKLOG: usize = 4096;
/// How often one looks whether anybody still listens when there is nothing to tell.
const QUIET: Duration = Duration::from_secs(1);

/// The monitor's first line on a trace.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub shares: Vec<Watched>,
}

/// A share.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Watched {
    /// Where the container has it.
    pub target: String,
    /// What the guest mounts there, if it is on a device.
    pub tag: String,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Line {
    Served(ServedRequest),
    /// So many more were not told of, because they came too fast.
    Lost(u64),
    /// Nothing has happened.
    Quiet,
}

/// A request, seen from the host. Times are of its `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServedRequest {
    /// The share's number in [`Head`].
    pub share: usize,
    pub unique: u64,
    /// The operation's number; 0 for one that the server does not know.
    pub opcode: u32,
    pub node: u64,
    pub error: Option<i32>,
    pub bytes: u64,
    pub arrived_ns: u64,
    pub done_ns: u64,
    pub file_system_ns: u64,
}

/// What the host's `CLOCK_MONOTONIC` says, in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    (now.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(now.tv_nsec as u64)
}

/// Those who trace one share.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    /// How many there are, so that nobody waits for the lock when there are none.
    count: AtomicUsize,
    taps: Mutex<Vec<Tap>>,
}

#[derive(Debug, Clone)]
struct Tap {
    share: usize,
    rate: u32,
    to: SyncSender<ServedRequest>,
    lost: Arc<AtomicU64>,
    /// A moment on both of the clock's faces.
    anchor: (Instant, u64),
}

impl Taps {
    /// Whether somebody traces this request.
    pub fn want(&self, unique: u64) -> bool {
        self.count.load(Ordering::Relaxed) > 0
            && self.lock().iter().any(|tap| is_traced(unique, tap.rate))
    }

    /// Tells those who trace this request, if there are any.
    pub fn tell(&self, served: &Served) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let mut taps = self.lock();
        taps.retain(|tap| tap.tell(served));
        self.count.store(taps.len(), Ordering::Relaxed);
    }

    fn add(&self, tap: Tap) {
        let mut taps = self.lock();
        taps.push(tap);
        self.count.store(taps.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Tap>> {
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tap {
    /// Whether there still is somebody.
    fn tell(&self, served: &Served) -> bool {
        if !is_traced(served.unique, self.rate) {
            return true;
        }
        let told = self.to.try_send(ServedRequest {
            share: self.share,
            unique: served.unique,
            opcode: served.opcode.map_or(0, |opcode| opcode as u32),
            node: served.node,
            error: served.error.map(rustix::io::Errno::raw_os_error),
            bytes: served.bytes,
            arrived_ns: self.nanoseconds(served.arrived),
            done_ns: self.nanoseconds(served.done),
            file_system_ns: served.file_system.as_nanos() as u64,
        });
        match told {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
                true
            }
            Err(TrySendError::Disconnected(_)) => false,
        }
    }

    fn nanoseconds(&self, instant: Instant) -> u64 {
        let (anchor, ns) = self.anchor;
        let after = instant.saturating_duration_since(anchor).as_nanos() as u64;
        let before = anchor.saturating_duration_since(instant).as_nanos() as u64;
        ns.saturating_add(after).saturating_sub(before)
    }
}

impl Observed {
    /// Tells of one in `rate` requests on `client`, from a thread of its own, until the other end closes it.
    pub fn trace(&self, rate: u32, mut client: UnixStream) -> io::Result<()> {
        let watched = self.0.iter().map(|share| Watched {
            target: share.target.clone(),
            tag: share.tag.clone(),
        });
        let shares = watched.collect();
        line(&mut client, &Head { shares })?;
        // Whoever reads slowly loses some; that is counted.
        client.set_write_timeout(None)?;
        let (to, requests) = sync_channel(BACKLOG);
        let lost = Arc::<AtomicU64>::default();
        let anchor = (Instant::now(), monotonic_ns());
        for (share, observed) in self.0.iter().enumerate() {
            observed.taps.add(Tap {
                share,
                rate,
                to: to.clone(),
                lost: Arc::clone(&lost),
                anchor,
            });
        }
        thread::Builder::new()
            .name("trace".to_owned())
            // Fails when the other end is closed.
            .spawn(move || drop(relay(&requests, &lost, client)))?;
        Ok(())
    }
}

fn relay(
    requests: &Receiver<ServedRequest>,
    lost: &AtomicU64,
    client: UnixStream,
) -> io::Result<()> {
    let mut client = io::BufWriter::new(client);
    loop {
        match requests.recv_timeout(QUIET) {
            Ok(request) => line(&mut client, &Line::Served(request))?,
            Err(RecvTimeoutError::Timeout) => line(&mut client, &Line::Quiet)?,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        while let Ok(request) = requests.try_recv() {
            line(&mut client, &Line::Served(request))?;
        }
        match lost.swap(0, Ordering::Relaxed) {
            0 => {}
            count => line(&mut client, &Line::Lost(count))?,
        }
        client.flush()?;
    }
}

fn line(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}
