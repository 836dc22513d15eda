//! The guest's side of a file-system device: it sends FUSE messages and reads the replies.

use std::ffi::CString;
use std::sync::Arc;

use cenote_fuse::passthrough::{Config, Passthrough};
use cenote_fuse::server::Server;
use cenote_fuse::testing::{Share, as_one_user, me, message, whole_offer};
use cenote_fuse::wire::{
    CreateIn, CreateOut, EntryOut, Opcode, OutHeader, ROOT, ReadIn, WriteIn, WriteOut,
};
use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::FsSpec;
use crate::testing::{Buffer, Driver, FakeGuest};

/// Bytes of a reply's header.
pub const HEADER: u32 = size_of::<OutHeader>() as u32;
/// Room for the data of requests and replies in bytes.
pub const DATA: u64 = 2 << 20;
const HEAD: u64 = 256 << 10;
const RING_SIZE: u16 = 512;

/// A guest with queue 0 and some request queues, and the directory that it mounts.
pub struct FakeDriver {
    pub guest: FakeGuest,
    pub queues: Vec<Driver>,
    pub server: Arc<Server>,
    pub share: Share,
    /// [`DATA`] bytes for data.
    pub data: u64,
    /// Where requests are put.
    pub head: u64,
    /// Where replies are put.
    pub reply: u64,
    unique: u64,
}

impl FakeDriver {
    /// A driver for a device with `queues` request queues.
    pub fn new(queues: u16) -> Self {
        Self::in_guest(FakeGuest::new(), queues, as_one_user())
    }

    pub fn in_guest(mut guest: FakeGuest, queues: u16, config: Config) -> Self {
        let share = Share::new();
        let directory = Passthrough::new(&share.inside, config).expect("a directory");
        Self {
            queues: (0..=queues)
                .map(|index| guest.driver(index, RING_SIZE))
                .collect(),
            data: guest.allocate(DATA),
            head: guest.allocate(HEAD),
            reply: guest.allocate(HEAD),
            guest,
            server: Arc::new(Server::new(directory)),
            share,
            unique: 0,
        }
    }

    pub fn spec(&self) -> FsSpec {
        FsSpec {
            tag: "share".into(),
            queues: self.queues.len() as u16 - 1,
            server: Arc::clone(&self.server),
        }
    }

    /// A message, with `data` bytes to follow it.
    pub fn message(&mut self, opcode: Opcode, node: u64, parts: &[&[u8]], data: u32) -> Vec<u8> {
        self.unique += 2;
        message(me(), self.unique, opcode, node, parts, data)
    }

    /// The number of the last message.
    pub fn last(&self) -> u64 {
        self.unique
    }

    /// Puts `message` where requests are and offers it on `queue`, with what else belongs to the chain.
    pub fn offer(&mut self, queue: usize, message: &[u8], more: &[Buffer]) -> u16 {
        self.guest.write(self.head, message);
        let mut buffers = vec![Buffer::readable(self.head, message.len() as u32)];
        buffers.extend(more);
        let head = self.queues[queue].offer(&buffers);
        self.queues[queue].notify();
        head
    }

    /// Offers `message` on the first request queue with `room` bytes for the reply, and waits for it: its header and body.
    pub fn exchange(&mut self, message: &[u8], room: u32) -> (OutHeader, Vec<u8>) {
        let head = self.offer(1, message, &[Buffer::writable(self.reply, room)]);
        let (used, written) = self.queues[1].wait_used();
        assert_eq!(used, head);
        self.reply(written)
    }

    /// The reply of which the device says that it has `written` bytes.
    pub fn reply(&self, written: u32) -> (OutHeader, Vec<u8>) {
        assert!(written >= HEADER, "there is no reply");
        let bytes = self.guest.read(self.reply, written as usize);
        let (header, body) = OutHeader::read_from_prefix(&bytes).expect("a header");
        assert_eq!(header.len, written);
        (header, body.to_vec())
    }

    /// Sends a request and waits for its reply.
    pub fn ask(&mut self, opcode: Opcode, node: u64, parts: &[&[u8]]) -> Result<Vec<u8>, Errno> {
        let message = self.message(opcode, node, parts, 0);
        let (header, body) = self.exchange(&message, 4096);
        assert_eq!(header.unique, self.last());
        match header.error {
            0 => Ok(body),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }

    pub fn get<T: FromBytes>(
        &mut self,
        opcode: Opcode,
        node: u64,
        parts: &[&[u8]],
    ) -> Result<T, Errno> {
        let body = self.ask(opcode, node, parts)?;
        Ok(T::read_from_bytes(&body).expect("a reply of the right length"))
    }

    /// Makes itself known, as a client that offers everything.
    pub fn init(&mut self) {
        self.ask(Opcode::Init, 0, &[whole_offer().as_bytes()])
            .expect("INIT");
    }

    pub fn lookup(&mut self, name: &str) -> Result<EntryOut, Errno> {
        let name = CString::new(name).expect("a name");
        self.get(Opcode::Lookup, ROOT, &[name.as_bytes_with_nul()])
    }

    /// Makes a file; its handle.
    pub fn create(&mut self, name: &str) -> u64 {
        let arguments = CreateIn {
            flags: libc::O_RDWR as u32,
            mode: 0o100_644,
            umask: 0,
            open_flags: 0,
        };
        let name = CString::new(name).expect("a name");
        let parts = [arguments.as_bytes(), name.as_bytes_with_nul()];
        let made: CreateOut = self.get(Opcode::Create, ROOT, &parts).expect("CREATE");
        made.open.fh
    }

    /// WRITE of the `len` bytes in `data`, at `offset` of an open file.
    pub fn write(&mut self, fh: u64, offset: u64, len: u32, data: &[Buffer]) -> Result<u32, Errno> {
        let mut arguments = WriteIn::new_zeroed();
        (arguments.fh, arguments.offset, arguments.size) = (fh, offset, len);
        let message = self.message(Opcode::Write, ROOT, &[arguments.as_bytes()], len);
        let mut more = data.to_vec();
        more.push(Buffer::writable(self.reply, 256));
        let head = self.offer(1, &message, &more);
        let (used, written) = self.queues[1].wait_used();
        assert_eq!(used, head);
        let (header, body) = self.reply(written);
        if header.error < 0 {
            return Err(Errno::from_raw_os_error(-header.error));
        }
        let out = WriteOut::read_from_bytes(&body).expect("WRITE's result");
        Ok(out.size)
    }

    /// READ of `len` bytes into `data`, from `offset` of an open file; how many bytes came.
    pub fn read(&mut self, fh: u64, offset: u64, len: u32, data: &[Buffer]) -> Result<u32, Errno> {
        let mut arguments = ReadIn::new_zeroed();
        (arguments.fh, arguments.offset, arguments.size) = (fh, offset, len);
        let message = self.message(Opcode::Read, ROOT, &[arguments.as_bytes()], 0);
        let mut more = vec![Buffer::writable(self.reply, HEADER)];
        more.extend(data);
        let head = self.offer(1, &message, &more);
        let (used, written) = self.queues[1].wait_used();
        assert_eq!(used, head);
        let bytes = self.guest.read(self.reply, HEADER as usize);
        let header = OutHeader::read_from_bytes(&bytes).expect("a header");
        assert_eq!((header.len, header.unique), (written, self.last()));
        match header.error {
            0 => Ok(written - HEADER),
            error => Err(Errno::from_raw_os_error(-error)),
        }
    }
}
