//! The host's end: a server that takes requests from streams.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use thiserror::Error;

use super::buffers::Buffers;
use super::messages::Messages;
use super::outgoing::Outgoing;
use super::worker;
use super::{REQUEST_LIMIT, REQUESTS, STREAMS_LIMIT, WORKERS_LIMIT};
use crate::passthrough::WorkerError;
use crate::server::Server;

/// Why a stream cannot be served.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ServeError {
    #[error("a client has no more than {STREAMS_LIMIT} streams")]
    Streams,
    #[error("cannot start a thread: {0}")]
    Thread(#[source] std::io::Error),
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// Serves one client on the streams that it brings, until it is dropped.
#[derive(Debug)]
pub struct Service {
    server: Arc<Server>,
    /// How many threads serve a stream.
    workers: usize,
    large: Arc<Buffers>,
    streams: Vec<Arc<Stream>>,
    threads: Vec<JoinHandle<()>>,
}

/// A client's stream, as the threads that serve it have it.
#[derive(Debug)]
pub(super) struct Stream {
    socket: Arc<OwnedFd>,
    pub server: Arc<Server>,
    pub large: Arc<Buffers>,
    /// Whoever has it waits for the next request.
    pub messages: Mutex<Messages>,
    pub outgoing: Arc<Outgoing>,
}

impl Service {
    /// A service of `server` in which up to `workers` requests of each stream are in work at once, and no more than
    /// [`WORKERS_LIMIT`] of all.
    pub fn new(server: Arc<Server>, workers: usize) -> Service {
        Service {
            server,
            workers: workers.max(1),
            large: Arc::new(Buffers::new(REQUEST_LIMIT)),
            streams: Vec::new(),
            threads: Vec::new(),
        }
    }

    /// Serves what comes along `stream` too.
    ///
    /// Call it on a thread that may do what the server's threads need: theirs begin with its capabilities.
    pub fn add(&mut self, stream: OwnedFd) -> Result<(), ServeError> {
        if self.streams.len() >= STREAMS_LIMIT {
            return Err(ServeError::Streams);
        }
        let socket = Arc::new(stream);
        let stream = Arc::new(Stream {
            server: Arc::clone(&self.server),
            large: Arc::clone(&self.large),
            messages: Mutex::new(Messages::new(Arc::clone(&socket), REQUESTS)),
            outgoing: Arc::new(Outgoing::new(Arc::clone(&socket))),
            socket,
        });
        self.streams.push(Arc::clone(&stream));
        let left = WORKERS_LIMIT - self.threads.len();
        for _ in 0..self.workers.min(left).max(1) {
            self.threads.push(worker::start(&stream)?);
        }
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.streams.iter().for_each(|stream| stream.end());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a file-system thread panicked");
            }
        }
        self.server.directory().reset();
    }
}

impl Stream {
    /// Nothing comes or goes any longer.
    pub fn end(&self) {
        super::end(&self.socket);
    }
}
