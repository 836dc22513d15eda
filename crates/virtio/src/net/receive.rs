//! Frames of the stream, on their way to the guest.

use std::io;

use super::link::{End, Link};
use super::{ETHERNET, HEADER, MAX_FRAME, PREFIX};
use crate::memory::{Data, MemoryError, Span, total_len};
use crate::queue::{Chain, Ring, RingError};

/// Bytes that one call may bring beyond the frame that has begun. More of it saves calls where frames are small and copies
/// more of them where they are large.
const BEYOND: usize = 16 << 10;
/// Frames in one round; the other queue gets its turn after it.
const FRAMES: usize = 64;
/// Buffers that are looked at for one frame. Linux makes them large enough for the longest frame to take a queue of ours.
const MAX_BUFFERS: usize = 1024;

/// A frame whose prefix has been read.
struct Frame {
    length: usize,
    /// Bytes of it that were taken from the stream.
    taken: usize,
    /// Whether they are kept from the guest.
    dropped: bool,
}

/// The guest's buffers for one frame and its header.
struct Buffers {
    /// The queue's position before them.
    at: u16,
    chains: Vec<Chain>,
    spans: Vec<Span>,
}

/// What came of looking for buffers.
enum Room {
    Enough(Buffers),
    /// The driver will ring the doorbell when it offers more.
    NotYet,
    /// The driver's buffers never hold such a frame.
    Never,
}

/// What came of reading the stream.
enum Read {
    Some,
    /// Nothing is there, or nothing ever comes again.
    Nothing,
    /// The guest's memory cannot be filled; the stream has kept everything.
    Refused,
}

/// The way from the stream to the guest.
pub struct Receiver {
    longest: usize,
    /// Whether a frame may lie in several chains of the queue.
    merge: bool,
    frame: Option<Frame>,
    /// Bytes read beyond a frame: those of `beyond[begin..end]` are not looked at yet.
    beyond: Box<[u8]>,
    begin: usize,
    end: usize,
    dropped: u64,
}

impl Receiver {
    /// For a guest that takes frames of up to `longest` bytes.
    pub fn new(longest: usize) -> Self {
        Self {
            longest,
            merge: false,
            frame: None,
            beyond: vec![0; BEYOND].into(),
            begin: 0,
            end: 0,
            dropped: 0,
        }
    }

    /// Says whether the driver accepted VIRTIO_NET_F_MRG_RXBUF.
    pub fn merge(&mut self, accepted: bool) {
        self.merge = accepted;
    }

    /// Frames that the guest did not get, because they were none for it or its buffers did not hold them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The driver is gone, and with it its buffers and what is in them.
    pub fn forget_driver(&mut self) {
        if self.frame.as_ref().is_some_and(|frame| frame.taken > 0) {
            self.drop_frame();
        }
    }

    /// Gives the guest what is there, up to a batch. Returns whether there is more to do without waiting.
    pub fn round(&mut self, ring: &mut Ring, link: &mut Link) -> Result<bool, RingError> {
        for _ in 0..FRAMES {
            if !self.begin_frame(link) {
                return Ok(false);
            }
            let passed = match &self.frame {
                Some(frame) if frame.dropped => self.pass_over(link),
                Some(_) => self.deliver(ring, link)?,
                None => false,
            };
            if !passed {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes sure that there is a frame; `false` if the stream has none now.
    fn begin_frame(&mut self, link: &mut Link) -> bool {
        while self.frame.is_none() {
            let Some(prefix) = self.beyond[self.begin..self.end].first_chunk::<PREFIX>() else {
                match self.read(link, Data::default(), 0) {
                    Read::Some => continue,
                    Read::Nothing | Read::Refused => return false,
                }
            };
            let announced = u32::from_be_bytes(*prefix);
            let length = announced as usize;
            if length == 0 || length > MAX_FRAME {
                link.end(End::Length(announced));
                return false;
            }
            self.begin += PREFIX;
            self.frame = Some(Frame {
                length,
                taken: 0,
                dropped: false,
            });
            if length < ETHERNET || length > self.longest {
                self.drop_frame();
            }
        }
        true
    }

    fn drop_frame(&mut self) {
        if let Some(frame) = &mut self.frame
            && !frame.dropped
        {
            frame.dropped = true;
            self.dropped += 1;
        }
    }

    /// Reads a dropped frame to its end. Returns whether that came.
    fn pass_over(&mut self, link: &mut Link) -> bool {
        while let Some(frame) = &mut self.frame {
            let take = (frame.length - frame.taken).min(self.end - self.begin);
            frame.taken += take;
            self.begin += take;
            if frame.taken == frame.length {
                self.frame = None;
            } else if !matches!(self.read(link, Data::default(), 0), Read::Some) {
                return false;
            }
        }
        true
    }

    /// Stores the frame in the guest's buffers. Returns whether it is done with; if not, the buffers are put back until
    /// the rest comes, or until there are enough of them.
    fn deliver(&mut self, ring: &mut Ring, link: &mut Link) -> Result<bool, RingError> {
        let Some(frame) = &mut self.frame else {
            return Ok(true);
        };
        let length = frame.length;
        let buffers = match Self::buffers(ring, HEADER + length, self.merge)? {
            Room::Enough(buffers) => buffers,
            Room::NotYet => return Ok(false),
            Room::Never => {
                self.drop_frame();
                return Ok(true);
            }
        };
        match self.fill(ring, link, &buffers, length) {
            Ok(true) => {
                self.frame = None;
                ring.push_together(buffers.used(length))?;
                Ok(true)
            }
            Ok(false) => {
                ring.rewind(buffers.at);
                Ok(false)
            }
            // Not the stream's fault: it is read on, and the next frame may meet better buffers.
            Err(error) => {
                tracing::debug!(%error, "the guest's buffers cannot be filled; a frame is dropped");
                self.drop_frame();
                ring.push_together(buffers.chains.into_iter().map(|chain| (chain, 0)))?;
                Ok(true)
            }
        }
    }

    /// Takes as many chains as hold `size` bytes.
    fn buffers(ring: &mut Ring, size: usize, merge: bool) -> Result<Room, RingError> {
        let mut buffers = Buffers {
            at: ring.position().next_avail,
            chains: Vec::new(),
            spans: Vec::new(),
        };
        let mut room = 0;
        for _ in 0..MAX_BUFFERS {
            match ring.pop()? {
                Some(Ok(chain)) => {
                    let writable = total_len(chain.writable());
                    if !chain.readable().is_empty() || writable < HEADER as u64 {
                        tracing::debug!("a chain that cannot hold a frame is given back");
                        ring.push(chain, 0)?;
                        continue;
                    }
                    room += writable;
                    buffers.spans.extend_from_slice(chain.writable());
                    buffers.chains.push(chain);
                    if room >= size as u64 {
                        return Ok(Room::Enough(buffers));
                    }
                    if !merge {
                        break;
                    }
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "an unusable buffer is given back");
                }
                None if ring.arm()? => {}
                None => {
                    ring.rewind(buffers.at);
                    return Ok(Room::NotYet);
                }
            }
        }
        ring.rewind(buffers.at);
        Ok(Room::Never)
    }

    /// Stores what there is of the frame, and its header when that is all. Returns whether it is.
    fn fill(
        &mut self,
        ring: &Ring,
        link: &mut Link,
        buffers: &Buffers,
        length: usize,
    ) -> Result<bool, MemoryError> {
        let memory = ring.memory();
        let spans = &buffers.spans;
        while let Some(frame) = &mut self.frame {
            let skip = (HEADER + frame.taken) as u64;
            let rest = length - frame.taken;
            let have = rest.min(self.end - self.begin);
            memory.copy_in(spans, skip, &self.beyond[self.begin..self.begin + have])?;
            frame.taken += have;
            self.begin += have;
            if have == rest {
                break;
            }
            let rest = (rest - have) as u64;
            let data = memory.data(spans, skip + have as u64, rest, true)?;
            match self.read(link, data, rest) {
                Read::Some => {}
                Read::Nothing => return Ok(false),
                Read::Refused => return Err(MemoryError::Gone { len: rest }),
            }
        }
        let mut header = [0; HEADER];
        header[HEADER - 2..].copy_from_slice(&(buffers.chains.len() as u16).to_le_bytes());
        memory.copy_in(spans, 0, &header)?;
        Ok(true)
    }

    /// Reads the stream into `data`, the frame's buffers for its last `rest` bytes, and beyond it. Nothing may be left of
    /// what was read before but a part of a prefix.
    fn read(&mut self, link: &mut Link, data: Data<'_>, rest: u64) -> Read {
        if !link.is_up() {
            return Read::Nothing;
        }
        self.beyond.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        let mut data = data;
        // A frame in more pieces than one call takes is read in several.
        if data.len() == rest {
            data.add_buffer(&mut self.beyond[self.end..]);
        }
        let direct = data.len().min(rest);
        let count = match data.receive_from(link.stream()) {
            Ok(0) => {
                link.end(End::Closed);
                return Read::Nothing;
            }
            Ok(count) => count as u64,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Read::Nothing,
            Err(error) if error.raw_os_error() == Some(libc::EFAULT) => return Read::Refused,
            Err(error) => {
                link.end(End::from(error));
                return Read::Nothing;
            }
        };
        if let Some(frame) = &mut self.frame {
            frame.taken += count.min(direct) as usize;
        }
        self.end += count.saturating_sub(direct) as usize;
        Read::Some
    }
}

impl Buffers {
    /// The chains, each with the bytes that a frame of `length` bytes and its header take in it.
    fn used(self, length: usize) -> impl Iterator<Item = (Chain, u32)> {
        let mut left = (HEADER + length) as u64;
        self.chains.into_iter().map(move |chain| {
            let used = left.min(total_len(chain.writable()));
            left -= used;
            (chain, used as u32)
        })
    }
}
