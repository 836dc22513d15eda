//! The client's end: carries requests from `/dev/fuse` to streams, and replies back.
//!
//! A stream has two threads, one for each direction, and a descriptor of `/dev/fuse` of its own, since a reply must be
//! written to the descriptor from which its request was read. Neither thread knows what it carries.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use thiserror::Error;

use super::buffers::Buffers;
use super::messages::{Message, Messages};
use super::outgoing::Outgoing;
use super::{REPLIES, REPLY_LIMIT, REQUEST_LIMIT, STREAMS_LIMIT, StreamError, end};
use crate::device::{MountError, another};

/// A thread's stack in bytes: its calls are shallow, and its buffers lie elsewhere.
const STACK: usize = 32 * 1024;

/// Requests that come while others are read go along the stream with them, up to so many bytes.
const TOGETHER: usize = 16 * 1024;

/// Why a mount cannot be served over streams.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RelayError {
    #[error("a mount needs 1 to {STREAMS_LIMIT} streams and has {0}")]
    Streams(usize),
    #[error("/dev/fuse cannot be told not to block: {0}")]
    Device(#[source] Errno),
    #[error(transparent)]
    Mount(#[from] MountError),
}

impl RelayError {
    /// What the kernel answered.
    pub fn errno(&self) -> Errno {
        match self {
            RelayError::Streams(_) => Errno::INVAL,
            RelayError::Device(errno) => *errno,
            RelayError::Mount(error) => error.errno(),
        }
    }
}

/// Serves a mount from the other end of streams, until it is unmounted, a stream ends, or this is dropped. Whoever uses
/// the mount afterwards gets errors.
#[derive(Debug)]
pub struct Relay {
    carriers: Arc<Carriers>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads have in common.
#[derive(Debug)]
struct Carriers {
    streams: Vec<Arc<OwnedFd>>,
    large: Buffers,
    /// How it ended, once it has.
    ended: Mutex<Option<Result<(), StreamError>>>,
}

impl Relay {
    /// Serves the mount whose requests `device` has ([`attach`](crate::device::attach)) from the other ends of `streams`.
    pub fn start(device: OwnedFd, streams: Vec<OwnedFd>) -> Result<Relay, RelayError> {
        if !(1..=STREAMS_LIMIT).contains(&streams.len()) {
            return Err(RelayError::Streams(streams.len()));
        }
        let mut devices = Vec::new();
        for _ in 1..streams.len() {
            devices.push(another(&device)?);
        }
        devices.push(device);
        let mut relay = Relay {
            carriers: Arc::new(Carriers {
                streams: streams.into_iter().map(Arc::new).collect(),
                large: Buffers::new(REPLY_LIMIT),
                ended: Mutex::new(None),
            }),
            threads: Vec::new(),
        };
        for (number, device) in devices.into_iter().enumerate() {
            relay.carry(number, Arc::new(device))?;
        }
        Ok(relay)
    }

    /// Waits until it ends; the error of the stream that ended it.
    pub fn wait(mut self) -> Result<(), StreamError> {
        self.join();
        self.carriers.ended().unwrap_or(Ok(()))
    }

    /// Leaves it to itself, until it is unmounted or a stream ends.
    pub fn detach(mut self) {
        self.threads.clear();
    }

    /// Starts the two threads of a stream.
    fn carry(&mut self, number: usize, device: Arc<OwnedFd>) -> Result<(), RelayError> {
        // So that whoever waits for requests can wait for the stream's end as well.
        rustix::fs::fcntl_setfl(&device, OFlags::NONBLOCK).map_err(RelayError::Device)?;
        let stream = &self.carriers.streams[number];
        let requests = Requests {
            device: Arc::clone(&device),
            stream: Arc::clone(stream),
            outgoing: Outgoing::new(Arc::clone(stream)),
            room: vec![0; TOGETHER + REQUEST_LIMIT],
        };
        let messages = Messages::new(Arc::clone(stream), REPLIES);
        self.spawn(move |_| requests.carry())?;
        self.spawn(move |carriers| carry_replies(messages, &carriers.large, &device))
    }

    fn spawn(
        &mut self,
        carry: impl FnOnce(&Carriers) -> Result<(), StreamError> + Send + 'static,
    ) -> Result<(), RelayError> {
        let carriers = Arc::clone(&self.carriers);
        let thread = std::thread::Builder::new()
            .name("fuse-relay".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let ended = carry(&carriers);
                carriers.end(ended);
            })
            .map_err(MountError::Thread)?;
        self.threads.push(thread);
        Ok(())
    }

    fn join(&mut self) {
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that carries requests panicked");
            }
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        if !self.threads.is_empty() {
            self.carriers.end(Ok(()));
            self.join();
        }
    }
}

impl Carriers {
    /// Ends all threads. With the last of them the last descriptor of the mount is closed.
    fn end(&self, result: Result<(), StreamError>) {
        self.ended().get_or_insert(result);
        self.streams.iter().for_each(|stream| end(stream));
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, Option<Result<(), StreamError>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the host.
#[derive(Debug)]
struct Requests {
    device: Arc<OwnedFd>,
    stream: Arc<OwnedFd>,
    outgoing: Outgoing,
    room: Vec<u8>,
}

impl Requests {
    fn carry(mut self) -> Result<(), StreamError> {
        let mut filled = 0;
        loop {
            match rustix::io::read(&self.device, &mut self.room[filled..]) {
                Ok(len) if filled + len <= TOGETHER => filled += len,
                Ok(len) => {
                    self.outgoing.send(&self.room[..filled + len], &[])?;
                    filled = 0;
                }
                Err(Errno::AGAIN) if filled > 0 => {
                    self.outgoing.send(&self.room[..filled], &[])?;
                    filled = 0;
                }
                Err(Errno::AGAIN) => self.wait()?,
                // The request was taken back before it was read.
                Err(Errno::NOENT | Errno::INTR) => {}
                // Unmounted.
                Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
                Err(error) => return Err(StreamError::Device(error)),
            }
        }
    }

    /// Waits for a request, or the stream's end.
    fn wait(&self) -> Result<(), StreamError> {
        let mut two = [
            PollFd::new(&self.device, PollFlags::IN),
            PollFd::new(&self.stream, PollFlags::empty()),
        ];
        match poll(&mut two, None) {
            Ok(_) if !two[1].revents().is_empty() => Err(StreamError::Gone),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Carries what comes along `stream` to `device`, without a mount.
#[cfg(feature = "testing")]
pub(crate) fn replies_to(device: &OwnedFd, stream: Arc<OwnedFd>) -> Result<(), StreamError> {
    let large = Buffers::new(REPLY_LIMIT);
    carry_replies(Messages::new(stream, REPLIES), &large, device)
}

fn carry_replies(
    mut messages: Messages,
    large: &Buffers,
    device: &OwnedFd,
) -> Result<(), StreamError> {
    while let Some(message) = messages.next(large)? {
        let written = match &message {
            Message::Here(message) => rustix::io::write(device, message),
            Message::Long(lent, len) => rustix::io::write(device, &lent.bytes[..*len]),
        };
        match written {
            // ENOENT: the client has given the request up.
            Ok(_) | Err(Errno::NOENT) => {}
            // Unmounted.
            Err(Errno::NODEV | Errno::PERM | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(StreamError::Device(error)),
        }
    }
    Err(StreamError::Gone)
}
