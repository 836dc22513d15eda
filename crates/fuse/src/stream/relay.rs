//! The client's end: carries requests from `/dev/fuse` to streams, and replies back.
//!
//! A stream has two threads, one for each direction, and a descriptor of `/dev/fuse` of its own, since a reply must be
//! written to the descriptor from which its request was read. Neither thread knows what it carries.

use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::io::Errno;
use thiserror::Error;

use super::buffers::Buffers;
use super::messages::{Message, Messages};
use super::outgoing::Outgoing;
use super::{REPLIES, REPLY_LIMIT, REQUEST_LIMIT, STREAMS_LIMIT, StreamError, end};
use crate::device::{Mount, MountError};

/// A thread's stack in bytes: its calls are shallow, and its buffers lie elsewhere.
const STACK: usize = 32 * 1024;

/// Why a directory cannot be mounted over streams.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum RelayError {
    #[error("a mount needs 1 to {STREAMS_LIMIT} streams and has {0}")]
    Streams(usize),
    #[error(transparent)]
    Mount(#[from] MountError),
}

/// A directory that is served by the other end of streams; unmounted when dropped, or when one of the streams ends.
#[derive(Debug)]
pub struct Relay {
    carriers: Arc<Carriers>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads have in common.
#[derive(Debug)]
struct Carriers {
    mount: Mount,
    streams: Vec<Arc<OwnedFd>>,
    large: Buffers,
    /// How it ended, once it has.
    ended: Mutex<Option<Result<(), StreamError>>>,
}

impl Relay {
    /// Mounts on `point` what is served at the other end of `streams`.
    pub fn mount(streams: Vec<OwnedFd>, point: &Path) -> Result<Relay, RelayError> {
        if !(1..=STREAMS_LIMIT).contains(&streams.len()) {
            return Err(RelayError::Streams(streams.len()));
        }
        let carriers = Arc::new(Carriers {
            mount: Mount::new(point)?,
            streams: streams.into_iter().map(Arc::new).collect(),
            large: Buffers::new(REPLY_LIMIT),
            ended: Mutex::new(None),
        });
        let mut relay = Relay {
            threads: Vec::new(),
            carriers,
        };
        for number in 0..relay.carriers.streams.len() {
            relay.start(number)?;
        }
        Ok(relay)
    }

    /// Waits until it ends, because somebody unmounts it or a stream ends; the first error that a stream had.
    pub fn wait(mut self) -> Result<(), StreamError> {
        self.join();
        self.carriers.ended().unwrap_or(Ok(()))
    }

    /// Starts the two threads of a stream.
    fn start(&mut self, number: usize) -> Result<(), MountError> {
        let device = self.carriers.mount.device(number)?;
        let stream = &self.carriers.streams[number];
        let outgoing = Outgoing::new(Arc::clone(stream));
        let messages = Messages::new(Arc::clone(stream), REPLIES);
        let request = vec![0; REQUEST_LIMIT];
        let theirs = Arc::clone(&device);
        self.spawn(move |_| carry_requests(&theirs, request, &outgoing))?;
        self.spawn(move |carriers| carry_replies(messages, &carriers.large, &device))
    }

    fn spawn(
        &mut self,
        carry: impl FnOnce(&Carriers) -> Result<(), StreamError> + Send + 'static,
    ) -> Result<(), MountError> {
        let carriers = Arc::clone(&self.carriers);
        let thread = std::thread::Builder::new()
            .name("fuse-relay".to_owned())
            .stack_size(STACK)
            .spawn(move || carriers.end(carry(&carriers)))
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
        self.carriers.end(Ok(()));
        self.join();
    }
}

impl Carriers {
    /// Ends all of it, once: users of the mount get errors, and threads stop waiting.
    fn end(&self, result: Result<(), StreamError>) {
        let mut ended = self.ended();
        if ended.is_some() {
            return;
        }
        match result {
            Ok(()) => self.mount.end(),
            // What is under way will not be answered any more.
            Err(_) => self.mount.abort(),
        }
        *ended = Some(result);
        self.streams.iter().for_each(|stream| end(stream));
    }

    fn ended(&self) -> std::sync::MutexGuard<'_, Option<Result<(), StreamError>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn carry_requests(
    device: &OwnedFd,
    mut request: Vec<u8>,
    outgoing: &Outgoing,
) -> Result<(), StreamError> {
    loop {
        match rustix::io::read(device, &mut request[..]) {
            Ok(len) => outgoing.send(&request[..len], &[])?,
            // The request was taken back before it was read.
            Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => {}
            // Unmounted.
            Err(Errno::NODEV | Errno::CONNABORTED) => return Ok(()),
            Err(error) => return Err(StreamError::Device(error)),
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
