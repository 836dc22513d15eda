//! Frames of the guest, on their way to the stream.
//!
//! A frame that has begun on the stream must be ended there with as many bytes as its length said, whatever becomes of
//! the guest: where its own bytes cannot be had any more, zeros take their place.

use std::io;

use super::link::{End, Link};
use super::{ETHERNET, HEADER, PREFIX};
use crate::memory::{Data, Memory, total_len};
use crate::queue::{Chain, Ring, RingError};

/// Frames that are taken from the queue for one call; the other queue gets its turn after it.
const FRAMES: usize = 64;
/// No more frames are taken when they have this many bytes together: the default size of a socket's buffer, of which what
/// does not fit would be taken again.
const BYTES: usize = 208 << 10;
/// Pieces of memory that a frame may have. Linux makes up to 19; a whole queue of the size that we offer is no more.
const MAX_PIECES: usize = 256;

static ZEROS: [u8; 4096] = [0; 4096];

/// A frame that waits in the queue.
struct Frame<'m> {
    /// The queue's position before it.
    at: u16,
    chain: Chain,
    prefix: [u8; PREFIX],
    body: Data<'m>,
}

impl Frame<'_> {
    /// Bytes that it takes on the stream.
    fn size(&self) -> usize {
        PREFIX + self.length()
    }

    fn length(&self) -> usize {
        u32::from_be_bytes(self.prefix) as usize
    }
}

/// The frame at the head of the queue, of which the stream has a part.
struct Begun {
    length: usize,
    /// Bytes that the stream has, its prefix included.
    taken: usize,
}

/// The way from the guest to the stream.
pub struct Transmitter {
    longest: usize,
    begun: Option<Begun>,
    /// Zeros that the stream must get before anything else.
    owed: usize,
    /// Whether the socket was full.
    full: bool,
    /// Whether a page of some frame could not be read, so that the next one goes alone: the kernel does not say which.
    alone: bool,
    dropped: u64,
}

impl Transmitter {
    /// For a guest whose frames have up to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            begun: None,
            owed: 0,
            full: false,
            alone: false,
            dropped: 0,
        }
    }

    /// Whether there is something to send as soon as the socket takes it.
    pub fn waits(&self) -> bool {
        self.full
    }

    /// Frames of the guest that were not sent, because they were none or the link is down.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The driver is gone, and with it a frame that has begun.
    pub fn forget_driver(&mut self) {
        if let Some(Begun { length, taken }) = self.begun.take() {
            self.owed = PREFIX + length - taken;
        }
        self.alone = false;
    }

    /// Sends what waits in `ring`, up to a batch. Returns whether there is more to do without waiting.
    pub fn round(&mut self, ring: &mut Ring, link: &mut Link) -> Result<bool, RingError> {
        let memory = ring.memory().clone();
        let (mut frames, more) = self.take(ring, &memory)?;
        let expected = self.begun.as_ref().map(|begun| begun.length);
        if expected.is_some() && expected != frames.first().map(Frame::length) {
            tracing::debug!("a frame changed after it had begun");
            self.forget_driver();
        }
        self.full = false;
        if !link.is_up() {
            self.give_up(ring, frames)?;
            return Ok(more);
        }
        let sent = match self.send(&mut frames, link) {
            Ok(sent) => sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.full = true;
                0
            }
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => {
                self.unreadable(ring, frames)?;
                return Ok(true);
            }
            Err(error) => {
                link.end(End::from(error));
                self.give_up(ring, frames)?;
                return Ok(more);
            }
        };
        let all = self.account(ring, frames, sent)?;
        Ok((more || !all) && !self.full)
    }

    /// Takes frames from the queue. The second value tells whether there may be more; if not, the driver's next one rings
    /// the doorbell.
    fn take<'m>(
        &mut self,
        ring: &mut Ring,
        memory: &'m Memory,
    ) -> Result<(Vec<Frame<'m>>, bool), RingError> {
        let (mut frames, mut bytes) = (Vec::new(), 0);
        for _ in 0..FRAMES {
            let at = ring.position().next_avail;
            match ring.pop()? {
                Some(Ok(chain)) => match self.frame(at, chain, memory) {
                    Ok(frame) => {
                        bytes += frame.size();
                        frames.push(frame);
                    }
                    Err(chain) => {
                        self.dropped += 1;
                        ring.push(chain, 0)?;
                    }
                },
                Some(Err(error)) => {
                    self.dropped += 1;
                    tracing::debug!(%error, "an unusable chain of frames is given back");
                }
                None if ring.arm()? => {}
                None => return Ok((frames, false)),
            }
            if bytes >= BYTES || (self.alone && !frames.is_empty()) {
                break;
            }
        }
        Ok((frames, true))
    }

    /// The frame in `chain`, or the chain again if there is none that can be sent.
    fn frame<'m>(&self, at: u16, chain: Chain, memory: &'m Memory) -> Result<Frame<'m>, Chain> {
        let shortest = (HEADER + ETHERNET) as u64;
        let longest = (HEADER + self.longest) as u64;
        let size = total_len(chain.readable());
        if !chain.writable().is_empty() || size < shortest || size > longest {
            return Err(chain);
        }
        let length = size - HEADER as u64;
        match memory.data(chain.readable(), HEADER as u64, length, false) {
            Ok(body) if body.len() == length && body.iovecs().len() <= MAX_PIECES => Ok(Frame {
                at,
                chain,
                prefix: (length as u32).to_be_bytes(),
                body,
            }),
            _ => Err(chain),
        }
    }

    /// Hands `frames` to the stream in one call, behind what it is owed; returns the bytes of frames that it took.
    fn send(&mut self, frames: &mut [Frame<'_>], link: &Link) -> io::Result<usize> {
        while self.owed > 0 {
            let zeros = &ZEROS[..self.owed.min(ZEROS.len())];
            let mut data = Data::default();
            data.add_bytes(zeros);
            self.owed -= data.send_to(link.stream())?;
        }
        let mut data = Data::default();
        for Frame { prefix, body, .. } in frames {
            let mut whole = Data::default();
            whole.add_bytes(&*prefix);
            if !whole.append(std::mem::take(body)) || !data.append(whole) {
                break;
            }
        }
        data.advance(self.begun.as_ref().map_or(0, |begun| begun.taken as u64));
        if data.is_empty() {
            return Ok(0);
        }
        let asked = data.len();
        let sent = data.send_to(link.stream())?;
        self.full = (sent as u64) < asked;
        self.alone = false;
        Ok(sent)
    }

    /// Gives back the frames that are sent, and puts back the others. Returns whether all are sent.
    fn account(
        &mut self,
        ring: &mut Ring,
        frames: Vec<Frame<'_>>,
        sent: usize,
    ) -> Result<bool, RingError> {
        let mut taken = sent + self.begun.take().map_or(0, |begun| begun.taken);
        let (mut done, mut all) = (Vec::with_capacity(frames.len()), true);
        for frame in frames {
            if taken < frame.size() {
                if taken > 0 {
                    let length = frame.length();
                    self.begun = Some(Begun { length, taken });
                }
                ring.rewind(frame.at);
                all = false;
                break;
            }
            taken -= frame.size();
            done.push((frame.chain, 0));
        }
        ring.push_together(done)?;
        Ok(all)
    }

    /// A page of `frames` cannot be read. If it can only be one of the first frame's, that one is dropped.
    fn unreadable(&mut self, ring: &mut Ring, frames: Vec<Frame<'_>>) -> Result<(), RingError> {
        let single = frames.len() == 1;
        self.alone = !single;
        let Some(first) = frames.into_iter().next() else {
            return Ok(());
        };
        if single {
            self.dropped += 1;
            self.forget_driver();
            ring.push(first.chain, 0)
        } else {
            ring.rewind(first.at);
            Ok(())
        }
    }

    /// The link is down: what the guest sends is lost.
    fn give_up(&mut self, ring: &mut Ring, frames: Vec<Frame<'_>>) -> Result<(), RingError> {
        self.begun = None;
        self.owed = 0;
        self.dropped += frames.len() as u64;
        ring.push_together(frames.into_iter().map(|frame| (frame.chain, 0)))
    }
}
