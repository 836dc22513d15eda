//! The thread that serves one queue of a file-system device.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use cenote_fuse::passthrough;
use cenote_fuse::server::{Body, Incoming, Server};

use super::aside::{Answered, Aside};
use super::message::{ChainReply, Message, Unreadable, store};
use crate::memory::Memory;
use crate::queue::{Chain, Ring, RingError, RingPosition};
use crate::queue_thread::Waiter;

/// Requests served before the thread looks whether it should stop.
const QUOTA: usize = 64;
/// Index of the queue for requests that nobody waits for.
const HIGH_PRIORITY: u16 = 0;
/// Chains that nobody waits for of which the driver may not have been told yet: few beside the entries of a queue.
const UNTOLD: u16 = 16;
/// How long the driver may not be told of them, and how long requests that nobody waits for may lie there.
const UNHURRIED: Duration = Duration::from_millis(2);

/// What the thread does after a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// There is more to serve.
    Serve,
    /// Look again a little later: the driver does not ring.
    Look,
    /// Wait until the driver rings.
    Wait,
}

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
            let limit = match self.round()? {
                Next::Serve => continue,
                Next::Look => Some(UNHURRIED),
                Next::Wait => (self.ring.untold() > 0).then_some(UNHURRIED),
            };
            let woken = waiter.wait(limit).map_err(ServeError::Wait)?;
            if !woken {
                self.ring.notify()?;
            }
        }
        Ok(self.ring.notify()?)
    }

    /// Serves what waits.
    pub fn round(&mut self) -> Result<Next, RingError> {
        self.ring.disarm()?;
        for answered in self.aside.answered() {
            self.give_back_late(answered)?;
            self.ring.notify()?;
        }
        for served in 0..QUOTA {
            match self.ring.pop()? {
                Some(Ok(chain)) => {
                    let awaited = self.one(chain)?;
                    if awaited || self.ring.untold() >= UNTOLD {
                        self.ring.notify()?;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "fs: an unusable request is given back");
                    self.ring.notify()?;
                }
                // More will come soon, and the driver need not ring for each.
                None if self.ring.index() == HIGH_PRIORITY && served > 0 => return Ok(Next::Look),
                None if self.ring.arm()? => return Ok(Next::Serve),
                None => return Ok(Next::Wait),
            }
        }
        Ok(Next::Serve)
    }

    /// Serves one request; whether somebody waits for the chain.
    fn one(&mut self, chain: Chain) -> Result<bool, RingError> {
        let (written, awaited) = self.answer(&chain);
        if let Some(written) = written {
            self.ring.push(chain, written)?;
        }
        Ok(awaited)
    }

    /// Carries the request in `chain` out. Returns the length of its reply, unless that comes later, and whether somebody
    /// waits for it.
    fn answer(&mut self, chain: &Chain) -> (Option<u32>, bool) {
        let arrived = self.server.arrival();
        let message = match Message::read(self.memory, chain, &mut self.buffer) {
            Ok(message) => message,
            Err(Unreadable::NoHeader) => {
                tracing::debug!("fs: a request without a header is given back");
                return (Some(0), true);
            }
            Err(Unreadable::Refused(unique, error)) => {
                tracing::debug!(%error, "fs: a request cannot be read");
                let written = store(self.memory, chain, unique, Body::Error(error));
                return (Some(written.unwrap_or(0)), true);
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
        (reply.written(), message.awaited)
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
