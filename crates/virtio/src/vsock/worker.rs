//! The thread that serves a vsock device: one epoll over commands, doorbells, the listening socket and all connections.
//!
//! It lives as long as the device. Without rings (no driver yet, or the guest is gone) it takes host clients and still
//! delivers to the host what the guest had sent.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::thread::{self, JoinHandle};

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, Event, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};
use rustix::io::Errno;

use super::muxer::{MAX_TOKEN, Muxer};
use super::to_guest::Filled;
use crate::queue::{Ring, RingError, RingPosition};

/// Index of the ring with buffers for packets to the guest (virtio 1.2 section 5.10.2).
const RX: usize = 0;
/// Index of the ring with packets of the guest.
const TX: usize = 1;
/// Index of the ring with buffers for events.
const EVENT: usize = 2;
/// `VIRTIO_VSOCK_EVENT_TRANSPORT_RESET`: all connections are gone and the context id may be another (section 5.10.6.7).
const TRANSPORT_RESET: u32 = 0;
/// epoll number of the command bell.
const COMMAND: u64 = MAX_TOKEN + 1;
/// epoll number of the first ring's doorbell; the others follow.
const DOORBELL: u64 = MAX_TOKEN + 2;
/// Packets handled in one direction before the other one and the sockets get their turn.
const QUOTA: usize = 256;
/// Events taken from epoll at once.
const EVENTS: usize = 256;

/// The rings of an activation, by index.
pub type Rings = Vec<Option<Ring>>;

/// What the device asks of its worker. Each is answered, so that the device knows when it is done.
enum Command {
    Serve(Rings, Sender<io::Result<()>>),
    Pause(Sender<Vec<Option<RingPosition>>>),
    Reset(Sender<()>),
}

/// A running worker. Dropping it ends the thread and with it all connections.
pub struct Worker {
    commands: Option<Sender<Command>>,
    bell: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// The worker's thread has ended, which only a defect of it explains.
#[derive(Debug)]
pub struct WorkerGone;

impl Worker {
    /// Starts the thread.
    ///
    /// `restored` says that the guest knows connections that this device does not: it is told as soon as it offers an
    /// event buffer.
    pub fn start(muxer: Muxer, restored: bool) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?);
        epoll::add(
            muxer.epoll(),
            &*bell,
            EventData::new_u64(COMMAND),
            EventFlags::IN,
        )?;
        let (commands, inbox) = mpsc::channel();
        let mut service = Service {
            muxer,
            rings: Rings::new(),
            inbox,
            bell: Arc::clone(&bell),
            transport_reset_due: restored,
        };
        let thread = thread::Builder::new()
            .name("vsock".into())
            .spawn(move || service.run())?;
        Ok(Self {
            commands: Some(commands),
            bell,
            thread: Some(thread),
        })
    }

    /// Serves `rings` until [`pause`](Self::pause).
    pub fn serve(&self, rings: Rings) -> Result<io::Result<()>, WorkerGone> {
        self.ask(|answer| Command::Serve(rings, answer))
    }

    /// Stops serving rings; returns where they stood.
    pub fn pause(&self) -> Result<Vec<Option<RingPosition>>, WorkerGone> {
        self.ask(Command::Pause)
    }

    /// Forgets what the guest knew.
    pub fn reset(&self) -> Result<(), WorkerGone> {
        self.ask(Command::Reset)
    }

    fn ask<T>(&self, command: impl FnOnce(Sender<T>) -> Command) -> Result<T, WorkerGone> {
        let (answer, answers) = mpsc::channel();
        let commands = self.commands.as_ref().ok_or(WorkerGone)?;
        commands.send(command(answer)).map_err(|_| WorkerGone)?;
        self.ring();
        answers.recv().map_err(|_| WorkerGone)
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.commands = None;
        self.ring();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("vsock: the worker has panicked");
        }
    }
}

/// The thread's own state.
struct Service {
    muxer: Muxer,
    rings: Rings,
    inbox: Receiver<Command>,
    bell: Arc<OwnedFd>,
    transport_reset_due: bool,
}

impl Service {
    fn run(&mut self) {
        let mut events = Vec::with_capacity(EVENTS);
        loop {
            let busy = self.serve_rings();
            let timeout = busy.then_some(Timespec {
                tv_sec: 0,
                tv_nsec: 0,
            });
            match epoll::wait(
                self.muxer.epoll(),
                spare_capacity(&mut events),
                timeout.as_ref(),
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    return tracing::error!(%error, "vsock: cannot wait for events; the device stops");
                }
            }
            for event in events.drain(..) {
                if !self.handle(&event) {
                    return;
                }
            }
        }
    }

    /// Returns whether to go on.
    fn handle(&mut self, event: &Event) -> bool {
        match event.data.u64() {
            COMMAND => self.obey(),
            // The doorbells are edge-triggered and only wake the loop, so that they need not be read.
            token if token >= DOORBELL => true,
            token => {
                self.muxer.handle_event(token, event.flags);
                true
            }
        }
    }

    /// Does what the device asked for; `false` when it is gone. Answers that nobody awaits any more are dropped.
    fn obey(&mut self) -> bool {
        let _ = rustix::io::read(&self.bell, &mut [0; 8]);
        loop {
            match self.inbox.try_recv() {
                Ok(Command::Serve(rings, answer)) => {
                    let _ = answer.send(self.start(rings));
                }
                Ok(Command::Pause(answer)) => {
                    let _ = answer.send(self.stop());
                }
                Ok(Command::Reset(answer)) => {
                    self.muxer.forget_guest();
                    let _ = answer.send(());
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn start(&mut self, rings: Rings) -> io::Result<()> {
        self.stop();
        self.rings = rings;
        for (token, ring) in (DOORBELL..).zip(&self.rings) {
            let Some(ring) = ring else { continue };
            let flags = EventFlags::IN | EventFlags::ET;
            if let Err(error) = epoll::add(
                self.muxer.epoll(),
                ring.doorbell(),
                EventData::new_u64(token),
                flags,
            ) {
                self.stop();
                return Err(error.into());
            }
        }
        Ok(())
    }

    fn stop(&mut self) -> Vec<Option<RingPosition>> {
        let rings = mem::take(&mut self.rings);
        for ring in rings.iter().flatten() {
            // The doorbell's other owners keep it open, so closing ours does not take it out of epoll. It is not in
            // there if its addition failed.
            let _ = epoll::delete(self.muxer.epoll(), ring.doorbell());
        }
        rings
            .iter()
            .map(|ring| ring.as_ref().map(Ring::position))
            .collect()
    }

    /// One round over the rings. Returns whether there is more to do without waiting.
    fn serve_rings(&mut self) -> bool {
        if self.transport_reset_due {
            let mut told = false;
            self.serve(EVENT, |_, ring| {
                told = Self::tell_transport_reset(ring)?;
                Ok(false)
            });
            self.transport_reset_due = !told;
        }
        let more_from = self.serve(TX, Self::take);
        let more_to = self.serve(RX, |muxer, ring| {
            let filled = muxer.fill(ring, QUOTA)?;
            ring.notify()?;
            Ok(filled == Filled::Quota)
        });
        // Resets that the guest now has made room for its packets.
        more_to || (more_from && self.muxer.takes_packets())
    }

    /// Serves one ring, or puts it out of service if its driver broke it: only a reset of the device helps then.
    fn serve(
        &mut self,
        index: usize,
        round: impl FnOnce(&mut Muxer, &mut Ring) -> Result<bool, RingError>,
    ) -> bool {
        let Some(slot) = self.rings.get_mut(index) else {
            return false;
        };
        let Some(ring) = slot else { return false };
        match round(&mut self.muxer, ring) {
            Ok(more) => more,
            Err(error) => {
                tracing::error!(%error, "vsock: a ring is out of service until the guest resets the device");
                let _ = epoll::delete(self.muxer.epoll(), ring.doorbell());
                *slot = None;
                false
            }
        }
    }

    /// Puts a transport reset into an event buffer. Returns whether there was one.
    fn tell_transport_reset(ring: &mut Ring) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        loop {
            match ring.pop()? {
                Some(Ok(chain)) => {
                    let event = TRANSPORT_RESET.to_le_bytes();
                    let told = memory.copy_in(chain.writable(), 0, &event);
                    ring.push(chain, if told.is_ok() { event.len() as u32 } else { 0 })?;
                    ring.notify()?;
                    if told.is_ok() {
                        return Ok(true);
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "vsock: an unusable event buffer is given back");
                }
                None if ring.arm()? => {}
                None => return Ok(false),
            }
        }
    }

    /// Handles packets of the guest. Returns whether there may be more.
    fn take(muxer: &mut Muxer, ring: &mut Ring) -> Result<bool, RingError> {
        ring.disarm()?;
        let memory = ring.memory().clone();
        let mut more = true;
        for _ in 0..QUOTA {
            if !muxer.takes_packets() {
                break;
            }
            match ring.pop()? {
                Some(Ok(chain)) => {
                    muxer.packet_from_guest(&memory, chain.readable());
                    ring.push(chain, 0)?;
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "vsock: an unusable packet is given back")
                }
                None if ring.arm()? => {}
                None => {
                    more = false;
                    break;
                }
            }
        }
        ring.notify()?;
        Ok(more)
    }
}
