//! The client.

use std::ffi::CString;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::io::Errno;
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::messages;
use crate::passthrough::{Config, Passthrough, Worker};
use crate::server::{Body, Bytes, HandleError, Incoming, Later, Reply, Server};
use crate::wire::*;

/// Sends requests to a server in the same process, on the thread that made it.
#[derive(Debug)]
pub struct FakeClient {
    /// The server.
    pub server: Server,
    /// Whom the requests come from.
    pub uid: u32,
    /// And which group.
    pub gid: u32,
    /// Whether replies can be sent: one that cannot teaches the client nothing.
    pub deaf: bool,
    worker: Worker,
    unique: u64,
    late: (Sender<Late>, Receiver<Late>),
}

/// The number of a request that was answered later, and how.
type Late = (u64, Result<(), Errno>);

impl FakeClient {
    /// A client of `directory`, which has been told what it needs to know.
    ///
    /// # Panics
    ///
    /// If the directory cannot be served.
    pub fn new(directory: &Path, config: Config) -> FakeClient {
        FakeClient::with(Passthrough::new(directory, config).expect("the directory"))
    }

    /// The same, of a directory that has been set up.
    ///
    /// # Panics
    ///
    /// If the directory cannot be served.
    pub fn with(directory: Passthrough) -> FakeClient {
        FakeClient::of(Server::new(directory))
    }

    /// The same, of a server.
    ///
    /// # Panics
    ///
    /// If the directory cannot be served.
    pub fn of(server: Server) -> FakeClient {
        let worker = server.directory().worker().expect("a worker");
        let (uid, gid) = messages::me();
        let mut client = FakeClient {
            server,
            uid,
            gid,
            deaf: false,
            worker,
            unique: 0,
            late: channel(),
        };
        client.init().expect("INIT");
        client
    }

    /// Offers everything that the protocol has.
    pub fn init(&mut self) -> Result<InitOut, Errno> {
        self.get(Opcode::Init, ROOT, &[messages::whole_offer().as_bytes()])
    }

    /// Sends a request; the reply's body, empty if there is no reply.
    pub fn send(&mut self, opcode: Opcode, node: u64, parts: &[&[u8]]) -> Result<Vec<u8>, Errno> {
        let message = self.message(opcode, node, parts);
        self.send_raw(&message).expect("a header")
    }

    /// A whole message.
    pub fn message(&mut self, opcode: Opcode, node: u64, parts: &[&[u8]]) -> Vec<u8> {
        self.unique += 2;
        let from = (self.uid, self.gid);
        messages::message(from, self.unique, opcode, node, parts, 0)
    }

    /// The number of the last request.
    pub fn last(&self) -> u64 {
        self.unique
    }

    /// Sends any bytes.
    pub fn send_raw(&mut self, message: &[u8]) -> Result<Result<Vec<u8>, Errno>, HandleError> {
        let (head, data) = Bytes::split(message);
        let mut reply = Kept {
            filled: Vec::new(),
            sent: None,
            deaf: self.deaf,
            late: self.late.0.clone(),
        };
        let incoming = Incoming {
            head,
            payload: &data,
            arrived: self.server.arrival(),
        };
        self.server
            .handle(&mut self.worker, &incoming, &mut reply)?;
        Ok(reply.sent.unwrap_or(Ok(Vec::new())))
    }

    /// Waits for a reply that comes later.
    pub fn late(&self) -> Late {
        self.late.1.recv().expect("we have the other end")
    }

    /// Sends a request whose result is a struct.
    pub fn get<T: FromBytes>(
        &mut self,
        opcode: Opcode,
        node: u64,
        parts: &[&[u8]],
    ) -> Result<T, Errno> {
        let reply = self.send(opcode, node, parts)?;
        Ok(T::read_from_bytes(&reply).expect("a reply of the right length"))
    }

    /// LOOKUP
    pub fn lookup(&mut self, parent: u64, name: &str) -> Result<EntryOut, Errno> {
        self.get(Opcode::Lookup, parent, &[&zero_ended(name)])
    }

    /// FORGET
    pub fn forget(&mut self, node: u64, nlookup: u64) {
        let forget = ForgetIn { nlookup };
        let reply = self.send(Opcode::Forget, node, &[forget.as_bytes()]);
        assert_eq!(reply, Ok(vec![]));
    }

    /// GETATTR
    pub fn getattr(&mut self, node: u64) -> Result<Attr, Errno> {
        self.attributes(node).map(|out| out.attr)
    }

    /// GETATTR, with how long the attributes may be believed
    pub fn attributes(&mut self, node: u64) -> Result<AttrOut, Errno> {
        let arguments = GetattrIn::new_zeroed();
        self.get(Opcode::Getattr, node, &[arguments.as_bytes()])
    }

    /// SETATTR
    pub fn setattr(&mut self, node: u64, arguments: SetattrIn) -> Result<Attr, Errno> {
        let out: AttrOut = self.get(Opcode::Setattr, node, &[arguments.as_bytes()])?;
        Ok(out.attr)
    }

    /// OPEN; the handle
    pub fn open(&mut self, node: u64, flags: i32) -> Result<u64, Errno> {
        let arguments = OpenIn {
            flags: flags as u32,
            open_flags: 0,
        };
        let out: OpenOut = self.get(Opcode::Open, node, &[arguments.as_bytes()])?;
        Ok(out.fh)
    }

    /// CREATE
    pub fn create(&mut self, parent: u64, name: &str, flags: i32) -> Result<CreateOut, Errno> {
        let arguments = CreateIn {
            flags: flags as u32,
            mode: 0o100_644,
            umask: 0,
            open_flags: 0,
        };
        self.get(
            Opcode::Create,
            parent,
            &[arguments.as_bytes(), &zero_ended(name)],
        )
    }

    /// MKDIR
    pub fn mkdir(&mut self, parent: u64, name: &str) -> Result<EntryOut, Errno> {
        let arguments = MkdirIn {
            mode: 0o755,
            umask: 0,
        };
        self.get(
            Opcode::Mkdir,
            parent,
            &[arguments.as_bytes(), &zero_ended(name)],
        )
    }

    /// SYMLINK
    pub fn symlink(&mut self, parent: u64, name: &str, target: &str) -> Result<EntryOut, Errno> {
        self.get(
            Opcode::Symlink,
            parent,
            &[&zero_ended(name), &zero_ended(target)],
        )
    }

    /// UNLINK
    pub fn unlink(&mut self, parent: u64, name: &str) -> Result<(), Errno> {
        self.send(Opcode::Unlink, parent, &[&zero_ended(name)])
            .map(|_| ())
    }

    /// RENAME2
    pub fn rename(
        &mut self,
        (from, old): (u64, &str),
        (to, new): (u64, &str),
        flags: u32,
    ) -> Result<(), Errno> {
        let arguments = Rename2In {
            newdir: to,
            flags,
            padding: 0,
        };
        let parts = [arguments.as_bytes(), &zero_ended(old), &zero_ended(new)];
        self.send(Opcode::Rename2, from, &parts).map(|_| ())
    }

    /// READ
    pub fn read(&mut self, fh: u64, offset: u64, size: u32) -> Result<Vec<u8>, Errno> {
        let mut arguments = ReadIn::new_zeroed();
        (arguments.fh, arguments.offset, arguments.size) = (fh, offset, size);
        self.send(Opcode::Read, ROOT, &[arguments.as_bytes()])
    }

    /// WRITE; how much was written
    pub fn write(&mut self, fh: u64, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let mut arguments = WriteIn::new_zeroed();
        (arguments.fh, arguments.offset, arguments.size) = (fh, offset, data.len() as u32);
        let out: WriteOut = self.get(Opcode::Write, ROOT, &[arguments.as_bytes(), data])?;
        Ok(out.size)
    }

    /// RELEASE
    pub fn release(&mut self, fh: u64) -> Result<(), Errno> {
        let mut arguments = ReleaseIn::new_zeroed();
        arguments.fh = fh;
        self.send(Opcode::Release, ROOT, &[arguments.as_bytes()])
            .map(|_| ())
    }

    /// OPENDIR; the handle
    pub fn opendir(&mut self, node: u64) -> Result<u64, Errno> {
        let out: OpenOut = self.get(Opcode::Opendir, node, &[OpenIn::new_zeroed().as_bytes()])?;
        Ok(out.fh)
    }

    /// READDIR; names, and the offsets to go on from
    pub fn readdir(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<(String, u64)>, Errno> {
        let entries = self.entries(node, fh, offset, size)?;
        let name_and_offset = |(entry, name): (Dirent, String)| (name, entry.off);
        Ok(entries.into_iter().map(name_and_offset).collect())
    }

    /// READDIR; the first names, and their numbers
    pub fn listed(&mut self, node: u64, fh: u64) -> Result<Vec<(String, u64)>, Errno> {
        let entries = self.entries(node, fh, 0, 4096)?;
        let name_and_number = |(entry, name): (Dirent, String)| (name, entry.ino);
        Ok(entries.into_iter().map(name_and_number).collect())
    }

    fn entries(
        &mut self,
        node: u64,
        fh: u64,
        offset: u64,
        size: u32,
    ) -> Result<Vec<(Dirent, String)>, Errno> {
        let mut arguments = ReadIn::new_zeroed();
        (arguments.fh, arguments.offset, arguments.size) = (fh, offset, size);
        let reply = self.send(Opcode::Readdir, node, &[arguments.as_bytes()])?;
        let mut rest = &reply[..];
        let mut entries = Vec::new();
        while !rest.is_empty() {
            let (entry, name) = Dirent::read_from_prefix(rest).expect("a whole entry");
            let len = entry.namelen as usize;
            let text = String::from_utf8(name[..len].to_vec()).expect("text");
            entries.push((entry, text));
            rest = &name[len.next_multiple_of(8)..];
        }
        Ok(entries)
    }
}

/// A name as messages have it.
fn zero_ended(name: &str) -> Vec<u8> {
    CString::new(name)
        .expect("no zero byte")
        .into_bytes_with_nul()
}

struct Kept {
    filled: Vec<u8>,
    sent: Option<Result<Vec<u8>, Errno>>,
    deaf: bool,
    late: Sender<Late>,
}

impl Reply for Kept {
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> Result<usize, Errno> {
        self.filled = vec![0; count];
        rustix::io::pread(file, &mut self.filled[..], offset)
    }

    fn send(&mut self, _unique: u64, body: Body<'_>) -> Result<(), Errno> {
        assert!(self.sent.is_none(), "two replies");
        if self.deaf {
            return Err(Errno::NOENT);
        }
        self.sent = Some(match body {
            Body::Error(error) => Err(error),
            Body::Bytes(bytes) => Ok(bytes.to_vec()),
            Body::Filled(len) => Ok(self.filled[..len].to_vec()),
        });
        Ok(())
    }

    fn later(&mut self) -> Option<Box<dyn Later>> {
        Some(Box::new(KeptLate(self.late.clone())))
    }
}

struct KeptLate(Sender<Late>);

impl Later for KeptLate {
    fn send(self: Box<Self>, unique: u64, result: Result<(), Errno>) {
        // A client that is gone does not care.
        let _ = self.0.send((unique, result));
    }
}
