//! A request and its reply in the buffers of a chain (virtio 1.2 section 5.11.6).

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use cenote_fuse::server::{Body, DATA_LIMIT, Later, Payload, Reply};
use cenote_fuse::wire::{InHeader, Opcode, OutHeader, WRITE_HEAD};
use rustix::io::{Errno, ReadWriteFlags};
use zerocopy::{FromBytes, IntoBytes};

use super::aside::{Aside, LaterReply};
use crate::memory::{Memory, Span, total_len};
use crate::queue::Chain;

/// The longest message in bytes beside data: an extended attribute of 64 KiB, and two pages for the rest.
const HEAD_LIMIT: usize = (64 << 10) + (8 << 10);

/// The operations that have no reply. RELEASE has one, and although its result means nothing to Linux, who closes a file
/// was seen to wait for it.
const UNANSWERED: [u32; 2] = [Opcode::Forget as u32, Opcode::BatchForget as u32];

const OUT_HEADER: usize = size_of::<OutHeader>();

/// A request in guest memory, of which the part that matters has been copied out.
pub struct Message<'m> {
    /// The number that the reply repeats.
    pub unique: u64,
    /// Whether somebody waits for the reply.
    pub awaited: bool,
    /// Everything but a WRITE's data.
    pub head: &'m [u8],
    /// A WRITE's data.
    pub data: GuestData<'m>,
}

/// Why a request is not even looked at.
#[derive(Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// There is no header, so that no reply is possible.
    NoHeader,
    /// The request with this number is answered with an error.
    Refused(u64, Errno),
}

impl<'m> Message<'m> {
    /// Copies the request in `chain` into `buffer`, which has room for [`Message::buffer`].
    pub fn read(
        memory: &'m Memory,
        chain: &'m Chain,
        buffer: &'m mut [u8],
    ) -> Result<Self, Unreadable> {
        let spans = chain.readable();
        let total = total_len(spans);
        let first = total.min(WRITE_HEAD as u64) as usize;
        memory
            .copy_out(spans, 0, &mut buffer[..first])
            .map_err(|_| Unreadable::NoHeader)?;
        let (header, _) =
            InHeader::read_from_prefix(&buffer[..first]).map_err(|_| Unreadable::NoHeader)?;
        let refuse = |error| Unreadable::Refused(header.unique, error);
        let rest = total - first as u64;
        let has_data = header.opcode == Opcode::Write as u32;
        let limit = if has_data {
            DATA_LIMIT
        } else {
            HEAD_LIMIT - WRITE_HEAD
        };
        let rest = usize::try_from(rest)
            .ok()
            .filter(|rest| *rest <= limit)
            .ok_or_else(|| refuse(Errno::TOOBIG))?;
        let copied = if has_data { 0 } else { rest };
        let head = &mut buffer[..first + copied];
        memory
            .copy_out(spans, first as u64, &mut head[first..])
            .map_err(|_| refuse(Errno::FAULT))?;
        Ok(Self {
            unique: header.unique,
            awaited: !UNANSWERED.contains(&header.opcode),
            data: GuestData {
                memory,
                spans,
                skip: head.len() as u64,
                len: rest - copied,
            },
            head,
        })
    }

    /// A buffer for the longest message.
    pub fn buffer() -> Vec<u8> {
        vec![0; HEAD_LIMIT]
    }
}

/// Data in guest memory.
#[derive(Debug)]
pub struct GuestData<'m> {
    memory: &'m Memory,
    spans: &'m [Span],
    skip: u64,
    len: usize,
}

impl Payload for GuestData<'_> {
    fn len(&self) -> usize {
        self.len
    }

    fn write_to(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> Result<usize, Errno> {
        in_pieces(self.len, |done, left| {
            let data = self
                .memory
                .data(self.spans, self.skip + done, left, false)
                .map_err(|_| Errno::FAULT)?;
            let offset = offset.checked_add(done).ok_or(Errno::FBIG)?;
            let count = data.write_at(file, offset, flags).map_err(errno)?;
            Ok((count, data.len()))
        })
    }
}

/// Moves `len` bytes by `step`, which is told how many are done and how many are left, and returns how many it moved and
/// how many it tried to: it is called again only when it moved them all.
fn in_pieces(
    len: usize,
    mut step: impl FnMut(u64, u64) -> Result<(usize, u64), Errno>,
) -> Result<usize, Errno> {
    let mut done = 0;
    while done < len {
        match step(done as u64, (len - done) as u64) {
            Ok((count, tried)) => {
                done += count;
                if (count as u64) < tried || count == 0 {
                    break;
                }
            }
            // What was moved is moved; the rest of the file or of the disk is the next request's matter.
            Err(_) if done > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

fn errno(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// Where the reply goes: the writable buffers of a chain.
pub struct ChainReply<'m> {
    memory: &'m Memory,
    chain: &'m Chain,
    unique: u64,
    aside: &'m Arc<Aside>,
    /// The chain's number there, if it is answered later.
    kept: Option<u64>,
    /// Bytes stored in the writable buffers.
    written: u32,
}

impl<'m> ChainReply<'m> {
    /// The reply to request `unique` in `chain`.
    pub fn new(memory: &'m Memory, chain: &'m Chain, unique: u64, aside: &'m Arc<Aside>) -> Self {
        Self {
            memory,
            chain,
            unique,
            aside,
            kept: None,
            written: 0,
        }
    }

    /// The bytes stored, unless the chain is answered later.
    pub fn written(&self) -> Option<u32> {
        self.kept.is_none().then_some(self.written)
    }
}

impl Reply for ChainReply<'_> {
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> Result<usize, Errno> {
        let (memory, spans) = (self.memory, self.chain.writable());
        let room = total_len(spans).saturating_sub(OUT_HEADER as u64);
        // Fewer bytes than the client asks for would be the file's end to it.
        if (count as u64) > room {
            return Err(Errno::INVAL);
        }
        in_pieces(count, |done, left| {
            let data = memory
                .data(spans, OUT_HEADER as u64 + done, left, true)
                .map_err(|_| Errno::FAULT)?;
            let offset = offset.checked_add(done).ok_or(Errno::INVAL)?;
            let read = data
                .read_at(file, offset, ReadWriteFlags::empty())
                .map_err(errno)?;
            Ok((read, data.len()))
        })
    }

    fn send(&mut self, unique: u64, body: Body<'_>) -> Result<(), Errno> {
        // A request that was to be answered later may be answered now instead, but only once.
        if let Some(number) = self.kept.take()
            && !self.aside.take_back(number)
        {
            self.kept = Some(number);
            return Err(Errno::ALREADY);
        }
        let (written, result) = match store(self.memory, self.chain, unique, body) {
            Ok(written) => (written, Ok(())),
            // The client waits for an answer: where the reply has no room, an error may have.
            Err(error) => {
                let body = Body::Error(Errno::IO);
                let written = store(self.memory, self.chain, unique, body);
                (written.unwrap_or(0), Err(error))
            }
        };
        self.written = written;
        result
    }

    fn later(&mut self) -> Option<Box<dyn Later>> {
        if self.kept.is_some() {
            return None;
        }
        let number = self.aside.keep(self.unique, self.chain.clone());
        self.kept = Some(number);
        Some(Box::new(LaterReply {
            aside: Arc::clone(self.aside),
            number,
        }))
    }
}

/// Stores a reply; how many bytes it has.
pub fn store(memory: &Memory, chain: &Chain, unique: u64, body: Body<'_>) -> Result<u32, Errno> {
    let (error, bytes, len) = match body {
        Body::Error(error) => (-error.raw_os_error(), &[][..], 0),
        Body::Bytes(bytes) => (0, bytes, bytes.len()),
        Body::Filled(len) => (0, &[][..], len),
    };
    let spans = chain.writable();
    let total = OUT_HEADER + len;
    if total as u64 > total_len(spans) {
        return Err(Errno::MSGSIZE);
    }
    // Replies are at most the header and DATA_LIMIT long.
    let header = OutHeader {
        len: total as u32,
        error,
        unique,
    };
    memory
        .copy_in(spans, OUT_HEADER as u64, bytes)
        .and_then(|()| memory.copy_in(spans, 0, header.as_bytes()))
        .map_err(|_| Errno::FAULT)?;
    Ok(total as u32)
}
