//! What an operation gives, and how it becomes a reply.

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::Server;
use super::transport::{Body, Reply};
use crate::passthrough::{Opened, Told, Worker};
use crate::wire::{CreateOut, EntryOut, Opcode, StatxOut, WriteOut};

/// What an operation gives.
#[derive(Debug)]
pub enum Answer {
    /// No reply: the operation has none, or it comes later.
    Silent,
    /// Nothing but success.
    Empty,
    /// Fixed results.
    Fixed(Fixed),
    /// Bytes in the worker's scratch space.
    Scratch,
    /// Bytes in the worker's scratch space, and the entries that they tell of.
    Listed(Vec<EntryOut>),
    /// Data that are in place.
    Filled(usize),
    Entry(Told),
    File(Opened),
    Directory(Opened),
    Created(Told, Opened),
}

/// The longest of the fixed results.
const LONGEST: usize = size_of::<StatxOut>();

#[derive(Debug)]
pub struct Fixed {
    bytes: [u8; LONGEST],
    len: usize,
}

impl Answer {
    pub fn fixed(result: &(impl IntoBytes + Immutable)) -> Answer {
        let result = result.as_bytes();
        let mut bytes = [0; LONGEST];
        bytes[..result.len()].copy_from_slice(result);
        Answer::Fixed(Fixed {
            bytes,
            len: result.len(),
        })
    }

    /// Bytes of a file that were read or written.
    pub fn moved(&self, opcode: Option<Opcode>) -> u64 {
        match (self, opcode) {
            (Answer::Filled(len), _) => *len as u64,
            (Answer::Fixed(fixed), Some(Opcode::Write)) => {
                WriteOut::read_from_prefix(&fixed.bytes).map_or(0, |(out, _)| out.size.into())
            }
            _ => 0,
        }
    }
}

impl Server {
    /// Sends the reply; what it would have told is taken back if it cannot be sent.
    pub(super) fn answer(
        &self,
        worker: &mut Worker,
        unique: u64,
        result: Result<Answer, Errno>,
        reply: &mut dyn Reply,
    ) -> Result<(), Errno> {
        let answer = match result {
            Ok(answer) => answer,
            Err(error) => return reply.send(unique, Body::Error(error)),
        };
        let sent = match &answer {
            Answer::Silent => Ok(()),
            Answer::Empty => reply.send(unique, Body::Bytes(&[])),
            Answer::Fixed(fixed) => reply.send(unique, Body::Bytes(&fixed.bytes[..fixed.len])),
            Answer::Scratch | Answer::Listed(_) => reply.send(unique, Body::Bytes(&worker.scratch)),
            Answer::Filled(len) => reply.send(unique, Body::Filled(*len)),
            Answer::Entry(told) => reply.send(unique, Body::Bytes(told.0.as_bytes())),
            Answer::File(opened) | Answer::Directory(opened) => {
                reply.send(unique, Body::Bytes(opened.0.as_bytes()))
            }
            Answer::Created(told, opened) => {
                let created = CreateOut {
                    entry: told.0,
                    open: opened.0,
                };
                reply.send(unique, Body::Bytes(created.as_bytes()))
            }
        };
        if sent.is_err() {
            self.take_back(&answer);
        }
        sent
    }

    fn take_back(&self, answer: &Answer) {
        match answer {
            Answer::Listed(told) => told.iter().for_each(|entry| self.directory.untell(entry)),
            Answer::Entry(told) => self.directory.untell(&told.0),
            Answer::File(opened) => self.directory.unopen(&opened.0),
            Answer::Directory(opened) => self.directory.unopendir(&opened.0),
            Answer::Created(told, opened) => {
                self.directory.unopen(&opened.0);
                self.directory.untell(&told.0);
            }
            _ => {}
        }
    }
}
