//! Takes a stream apart into messages.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::buffers::{Buffers, Lent};
use super::{Bounds, StreamError};

/// How much is taken from the stream at once, in bytes: a few small writes, or many of everything else.
const ROOM: usize = 32 * 1024;
/// Bytes of the length that each message begins with.
const LEN: usize = size_of::<u32>();

/// The receiving end of a stream.
#[derive(Debug)]
pub struct Messages {
    stream: Arc<OwnedFd>,
    bounds: Bounds,
    room: Box<[u8]>,
    /// What of `room` is received and not yet taken.
    begin: usize,
    end: usize,
}

/// A message.
#[derive(Debug)]
pub enum Message<'a, 'b> {
    /// It is where the stream's bytes are received.
    Here(&'a [u8]),
    /// It has so many bytes and does not fit there.
    Long(Lent<'b>, usize),
}

impl Messages {
    pub fn new(stream: Arc<OwnedFd>, bounds: Bounds) -> Messages {
        Messages {
            stream,
            bounds,
            room: vec![0; ROOM].into_boxed_slice(),
            begin: 0,
            end: 0,
        }
    }

    /// Waits for the next message; `None` if the stream has ended where it may. A long one is put into one of `large`,
    /// which has room for the longest.
    pub fn next<'b>(&mut self, large: &'b Buffers) -> Result<Option<Message<'_, 'b>>, StreamError> {
        if !self.have(LEN)? {
            return Ok(None);
        }
        let mut len = [0; LEN];
        len.copy_from_slice(&self.room[self.begin..self.begin + LEN]);
        let len = u32::from_ne_bytes(len) as usize;
        let Bounds { least, most } = self.bounds;
        if !(least..=most).contains(&len) {
            return Err(StreamError::Length { len, least, most });
        }
        if len > ROOM {
            let mut lent = large.lend();
            self.take(&mut lent.bytes[..len])?;
            return Ok(Some(Message::Long(lent, len)));
        }
        self.have(len)?;
        let message = &self.room[self.begin..self.begin + len];
        self.begin += len;
        Ok(Some(Message::Here(message)))
    }

    /// Waits until `len` bytes are received; false if the stream has ended before the first of them.
    fn have(&mut self, len: usize) -> Result<bool, StreamError> {
        if self.begin == self.end {
            (self.begin, self.end) = (0, 0);
        }
        if self.begin + len > ROOM {
            self.room.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        while self.end - self.begin < len {
            match receive(&self.stream, &mut self.room[self.end..])? {
                0 if self.begin == self.end => return Ok(false),
                0 => return Err(StreamError::Cut),
                received => self.end += received,
            }
        }
        Ok(true)
    }

    /// Fills `message` with what is received and what comes next.
    fn take(&mut self, message: &mut [u8]) -> Result<(), StreamError> {
        let (here, mut missing) = message.split_at_mut(self.end - self.begin);
        here.copy_from_slice(&self.room[self.begin..self.end]);
        self.begin = self.end;
        while !missing.is_empty() {
            match receive(&self.stream, missing)? {
                0 => return Err(StreamError::Cut),
                received => missing = &mut missing[received..],
            }
        }
        Ok(())
    }
}

fn receive(stream: &OwnedFd, room: &mut [u8]) -> Result<usize, Errno> {
    loop {
        match recv(stream, &mut *room, RecvFlags::empty()) {
            Ok((received, _)) => return Ok(received),
            Err(Errno::INTR) => {}
            // The other end was closed with bytes unread.
            Err(Errno::CONNRESET) => return Ok(0),
            Err(error) => return Err(error),
        }
    }
}
