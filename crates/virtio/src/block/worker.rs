//! The thread that serves one queue of a block device.

use std::io;
use std::sync::Arc;

use super::disk::{Cached, Disk};
use super::request::{self, Operation, Range, RequestError, Status};
use super::uring::{Flight, Read, Uring};
use crate::memory::Memory;
use crate::queue::{Chain, Ring, RingError, RingPosition};
use crate::queue_thread::Waiter;

/// Requests taken before those that have ended meanwhile are looked at, and a stop is heard.
const QUOTA: usize = 64;
/// Bytes moved before the guest is told of what is done, although more is waiting: a fraction of a millisecond's copying.
/// With less, each large request is an interrupt, which costs a nested guest more than the wait; with more, the guest
/// asks for the next ones too late.
const NOTIFY_BYTES: u64 = 4 << 20;

/// What all workers of a device share.
pub struct Shared {
    /// The file.
    pub disk: Arc<Disk>,
    /// Whether a write has to be on the host's disk when it is answered, because the driver knows no flush.
    pub write_through: bool,
}

/// Where requests go that cannot be answered at once.
enum Background<'m> {
    /// None has come yet.
    Unused,
    Uring(Box<Uring<'m>>),
    /// The host has no io_uring for us: the thread waits itself.
    Refused,
}

/// The thread's own state.
pub(super) struct Service<'m> {
    ring: Ring,
    shared: &'m Shared,
    memory: &'m Memory,
    waiter: &'m Waiter,
    background: Background<'m>,
    /// Bytes moved for requests of which the guest was not told.
    unannounced: u64,
}

impl<'m> Service<'m> {
    pub(super) fn new(
        ring: Ring,
        shared: &'m Shared,
        memory: &'m Memory,
        waiter: &'m Waiter,
    ) -> Self {
        Self {
            ring,
            shared,
            memory,
            waiter,
            background: Background::Unused,
            unannounced: 0,
        }
    }

    /// Serves the ring until the thread shall end and all that was taken is answered; returns where the ring stands, or
    /// `None` if its driver broke it.
    pub(super) fn run(mut self) -> Option<RingPosition> {
        let served = self.serve();
        let ended = self.finish_all();
        match served.and(ended) {
            Ok(()) => Some(self.ring.position()),
            Err(error) => {
                tracing::error!(%error, "block: a ring is out of service until the guest resets the device");
                None
            }
        }
    }

    fn serve(&mut self) -> Result<(), ServeError> {
        while !self.waiter.is_over() {
            if !self.round()? {
                self.waiter.wait(None).map_err(ServeError::Wait)?;
            }
        }
        Ok(())
    }

    /// Serves what waits. Returns whether there is more to do without waiting.
    pub(super) fn round(&mut self) -> Result<bool, ServeError> {
        self.ring.disarm()?;
        let more = self.take_requests()?;
        self.submit()?;
        self.finish_ended()?;
        self.announce()?;
        Ok(more || (!self.is_full() && self.ring.arm()?))
    }

    /// Whether a request must end before another one is taken.
    fn is_full(&self) -> bool {
        matches!(&self.background, Background::Uring(uring) if uring.is_full())
    }

    /// Takes what the guest offers. Returns whether there may be more.
    fn take_requests(&mut self) -> Result<bool, RingError> {
        // After the first read that is not in the page cache, the ring tries the others of this round.
        let mut try_cache = true;
        for _ in 0..QUOTA {
            if self.is_full() {
                return Ok(false);
            }
            match self.ring.pop()? {
                Some(Ok(chain)) => self.take(chain, &mut try_cache)?,
                Some(Err(error)) => {
                    tracing::debug!(%error, "block: an unusable request is given back");
                }
                None => return Ok(false),
            }
            if self.unannounced >= NOTIFY_BYTES {
                self.announce()?;
            }
        }
        Ok(true)
    }

    fn take(&mut self, chain: Chain, try_cache: &mut bool) -> Result<(), RingError> {
        let disk = &self.shared.disk;
        let result = match request::parse(self.memory, disk, &chain) {
            Err(error) => Err(error),
            Ok(Operation::Read {
                mut offset,
                mut data,
            }) => {
                // At most 2^32 bytes are in a chain, and one of them is the status.
                let filled = data.len() as u32;
                let cached = if *try_cache {
                    disk.read_cached(&mut data, &mut offset)
                } else {
                    Ok(Cached::Part)
                };
                match cached {
                    Ok(Cached::All) => Ok(filled),
                    Ok(Cached::Part) => {
                        *try_cache = false;
                        let read = Some(Read { offset, data });
                        return self.send_to_background(Flight {
                            chain,
                            filled,
                            read,
                        });
                    }
                    Err(error) => Err(error.into()),
                }
            }
            Ok(Operation::Write { offset, mut data }) => {
                self.unannounced += data.len();
                disk.write(&mut data, offset, self.shared.write_through)
                    .map(|()| 0)
                    .map_err(Into::into)
            }
            Ok(Operation::Flush) if disk.is_ephemeral() => Ok(0),
            Ok(Operation::Flush) => {
                return self.send_to_background(Flight {
                    chain,
                    filled: 0,
                    read: None,
                });
            }
            Ok(Operation::Id) => request::answer_id(self.memory, disk, &chain),
            Ok(Operation::Discard(ranges)) => {
                let discard = |range: &Range| disk.discard(range.offset, range.len);
                ranges
                    .iter()
                    .try_for_each(discard)
                    .map(|()| 0)
                    .map_err(Into::into)
            }
            Ok(Operation::WriteZeroes(ranges)) => self.write_zeroes(&ranges),
        };
        self.finish(chain, result)
    }

    fn write_zeroes(&self, ranges: &[Range]) -> Result<u32, RequestError> {
        let disk = &self.shared.disk;
        for range in ranges {
            disk.write_zeroes(range.offset, range.len, range.unmap)?;
        }
        if self.shared.write_through {
            disk.flush()?;
        }
        Ok(0)
    }

    /// Lets the kernel serve the request while this thread goes on, or serves it if the host does not do that.
    fn send_to_background(&mut self, flight: Flight<'m>) -> Result<(), RingError> {
        if matches!(self.background, Background::Unused) {
            self.background = self.set_up_background();
        }
        let refused = match &mut self.background {
            Background::Uring(uring) => uring.take(self.shared.disk.fd(), flight),
            Background::Unused | Background::Refused => Err(flight),
        };
        match refused {
            Ok(()) => Ok(()),
            Err(flight) => self.serve_here(flight),
        }
    }

    fn set_up_background(&self) -> Background<'m> {
        let uring = Uring::new().and_then(|uring| {
            self.waiter.watch(uring.bell())?;
            Ok(uring)
        });
        match uring {
            Ok(uring) => Background::Uring(Box::new(uring)),
            Err(error) => {
                tracing::debug!(%error, "block: the host has no io_uring for us; requests are served one by one");
                Background::Refused
            }
        }
    }

    fn serve_here(&mut self, flight: Flight<'m>) -> Result<(), RingError> {
        let disk = &self.shared.disk;
        let result = match flight.read {
            Some(Read { offset, mut data }) => disk.read(&mut data, offset),
            None => disk.flush(),
        };
        let filled = flight.filled;
        self.finish(flight.chain, result.map(|()| filled).map_err(Into::into))
    }

    fn submit(&mut self) -> Result<(), ServeError> {
        match &mut self.background {
            Background::Uring(uring) => uring.submit().map_err(ServeError::Submit),
            _ => Ok(()),
        }
    }

    /// Answers what the kernel has done.
    fn finish_ended(&mut self) -> Result<(), RingError> {
        while let Background::Uring(uring) = &mut self.background
            && let Some((mut flight, result)) = uring.ended()
        {
            let result = match (&mut flight.read, result) {
                (Some(read), Ok(count)) if count as u64 == read.data.len() => Ok(()),
                (Some(read), Ok(count)) if count > 0 => {
                    read.offset += count as u64;
                    read.data.advance(count as u64);
                    self.serve_here(flight)?;
                    continue;
                }
                (Some(_), Ok(_)) => Err(io::ErrorKind::UnexpectedEof.into()),
                (None, Ok(_)) => Ok(()),
                (_, Err(error)) if error.kind() == io::ErrorKind::Interrupted => {
                    self.serve_here(flight)?;
                    continue;
                }
                (_, Err(error)) => Err(error),
            };
            let filled = flight.filled;
            self.finish(flight.chain, result.map(|()| filled).map_err(Into::into))?;
        }
        Ok(())
    }

    /// Waits for all that the kernel still has, and answers it.
    pub(super) fn finish_all(&mut self) -> Result<(), ServeError> {
        loop {
            match &mut self.background {
                Background::Uring(uring) if !uring.is_idle() => {
                    uring.wait().map_err(ServeError::Submit)?;
                }
                _ => break,
            }
            self.finish_ended()?;
        }
        Ok(self.announce()?)
    }

    /// Gives the request back with its answer: the bytes of guest memory that were filled, or what went wrong.
    fn finish(&mut self, chain: Chain, result: Result<u32, RequestError>) -> Result<(), RingError> {
        let (status, filled) = match &result {
            Ok(filled) => (Status::Ok, *filled),
            Err(error) => {
                tracing::debug!(%error, "block: a request fails");
                (error.status(), 0)
            }
        };
        self.unannounced += u64::from(filled);
        let written = match request::answer(self.memory, &chain, status) {
            // The status is the last byte of a chain of at most 2^32.
            Ok(()) => filled.saturating_add(1),
            Err(error) => {
                tracing::debug!(%error, "block: a request cannot be answered");
                0
            }
        };
        self.ring.push(chain, written)
    }

    /// Tells the guest of what was given back.
    fn announce(&mut self) -> Result<(), RingError> {
        self.unannounced = 0;
        self.ring.notify()
    }
}

/// Why a worker stops before it is asked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ServeError {
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error("cannot wait for requests: {0}")]
    Wait(io::Error),
    #[error("cannot hand requests to the kernel: {0}")]
    Submit(io::Error),
}
