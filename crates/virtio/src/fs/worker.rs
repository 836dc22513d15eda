//! The thread that serves one queue of a file-system device.

use std::io;
use std::sync::Arc;

use cenote_fuse::passthrough;
use cenote_fuse::server::{Body, Incoming, Server};

use super::aside::{Answered, Aside};
use super::message::{ChainReply, Message, Unreadable, store};
use crate::memory::Memory;
use crate::queue::{Chain, Ring, RingError, RingPosition};
use crate::queue_thread::Waiter;

/// Requests served before the thread looks whether it should stop.
const QUOTA: usize = 64;

/// The thread's own state.
pub struct Service<'m> {
    ring: Ring,
    server: &'m Server,
    memory: &'m Memory,
    aside: &'m Arc<Aside>,
    worker: passthrough::Worker,
    buffer: Vec<u8>,
}

impl<'m> Service<'m> {
    /// Serves `ring` on the thread of `worker`.
    pub fn new(
        ring: Ring,
        server: &'m Server,
        memory: &'m Memory,
        aside: &'m Arc<Aside>,
        worker: passthrough::Worker,
    ) -> Self {
        Self {
            ring,
            server,
            memory,
            aside,
            worker,
            buffer: Message::buffer(),
        }
    }

    /// Serves until the thread shall end; returns where the ring stands, or `None` if its driver broke it.
    pub fn run(mut self, waiter: &Waiter) -> Option<RingPosition> {
        match self.serve(waiter) {
            Ok(()) => Some(self.ring.position()),
            Err(error) => {
                tracing::error!(%error, "fs: a ring is out of service until the guest resets the device");
                None
            }
        }
    }

    fn serve(&mut self, waiter: &Waiter) -> Result<(), ServeError> {
        while !waiter.is_over() {
            if !self.round()? {
                waiter.wait().map_err(ServeError::Wait)?;
            }
        }
        Ok(())
    }

    /// Serves what waits. Returns whether there is more to do without waiting.
    pub fn round(&mut self) -> Result<bool, RingError> {
        self.ring.disarm()?;
        for answered in self.aside.answered() {
            self.give_back_late(answered)?;
        }
        for _ in 0..QUOTA {
            match self.ring.pop()? {
                Some(Ok(chain)) => self.one(chain)?,
                Some(Err(error)) => {
                    tracing::debug!(%error, "fs: an unusable request is given back");
                }
                None => {
                    self.ring.notify()?;
                    return self.ring.arm();
                }
            }
            // Somebody waits for each of them.
            self.ring.notify()?;
        }
        Ok(true)
    }

    fn one(&mut self, chain: Chain) -> Result<(), RingError> {
        match self.answer(&chain) {
            Some(written) => self.ring.push(chain, written),
            None => Ok(()),
        }
    }

    /// Carries the request in `chain` out. Returns the length of its reply, unless that comes later.
    fn answer(&mut self, chain: &Chain) -> Option<u32> {
        let arrived = self.server.arrival();
        let message = match Message::read(self.memory, chain, &mut self.buffer) {
            Ok(message) => message,
            Err(Unreadable::NoHeader) => {
                tracing::debug!("fs: a request without a header is given back");
                return Some(0);
            }
            Err(Unreadable::Refused(unique, error)) => {
                tracing::debug!(%error, "fs: a request cannot be read");
                let written = store(self.memory, chain, unique, Body::Error(error));
                return Some(written.unwrap_or(0));
            }
        };
        let mut reply = ChainReply::new(self.memory, chain, message.unique, self.aside);
        let incoming = Incoming {
            head: message.head,
            payload: &message.data,
            arrived,
        };
        if let Err(error) = self.server.handle(&mut self.worker, &incoming, &mut reply) {
            tracing::debug!(%error, "fs: a request got no proper reply");
        }
        reply.written()
    }

    fn give_back_late(&mut self, answered: Answered) -> Result<(), RingError> {
        let Answered {
            unique,
            chain,
            result,
        } = answered;
        let body = result.map_or_else(Body::Error, |()| Body::Bytes(&[]));
        let written = store(self.memory, &chain, unique, body).unwrap_or(0);
        self.ring.push(chain, written)
    }
}

/// Why a worker stops before it is asked to.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("cannot wait for requests: {0}")]
    Wait(io::Error),
}
