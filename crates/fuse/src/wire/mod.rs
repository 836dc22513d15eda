//! The messages of the FUSE protocol, as `include/uapi/linux/fuse.h` of Linux lays them out (version 7.45).
//!
//! A request is an [`InHeader`], the operation's arguments, and for some operations names or data. All of it comes from
//! the client and is hostile: [`Request::parse`] checks every length, and names are checked by their types
//! ([`Name`], [`XattrName`], [`Target`]). A reply is an [`OutHeader`] and the operation's result.
//!
//! All integers are in the byte order of the machine, as the protocol has it.

mod arguments;
mod init;
mod names;
mod opcode;
mod reader;
mod replies;
mod request;

#[cfg(test)]
mod tests;

pub use arguments::*;
pub use init::{InitFlags, InitIn, InitOut};
pub use names::{BadName, Name, Target, XattrName};
pub use opcode::Opcode;
pub use replies::*;
pub use request::{BadRequest, ForgetMany, Operation, RemoveMany, Request};

use rustix::io::Errno;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The protocol's major version.
pub const MAJOR: u32 = 7;
/// The newest minor version that the server knows.
pub const MINOR: u32 = 45;
/// The node of the shared directory itself.
pub const ROOT: u64 = 1;
/// A message in bytes before a WRITE's data: the header and [`WriteIn`].
pub const WRITE_HEAD: usize = size_of::<InHeader>() + size_of::<WriteIn>();

/// What every request begins with (`fuse_in_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct InHeader {
    /// Length of the whole message in bytes, this header and extensions included.
    pub len: u32,
    /// See [`Opcode`].
    pub opcode: u32,
    /// The request's number, to be repeated in the reply.
    pub unique: u64,
    /// The node that the operation is about.
    pub node: u64,
    /// Who asks: the thread's file-system user, group and process.
    pub uid: u32,
    /// The thread's file-system group.
    pub gid: u32,
    /// The process, 0 where the client cannot name it.
    pub pid: u32,
    /// Length of the extensions at the message's end, in units of 8 bytes.
    pub extensions: u16,
    /// Always 0.
    pub padding: u16,
}

/// What every reply begins with (`fuse_out_header`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct OutHeader {
    /// Length of the whole message in bytes.
    pub len: u32,
    /// 0, or an error number below zero.
    pub error: i32,
    /// The request's number.
    pub unique: u64,
}

impl OutHeader {
    /// The header of a reply to request `unique` with `body` bytes after the header.
    pub fn new(unique: u64, result: Result<(), Errno>, body: usize) -> OutHeader {
        OutHeader {
            len: (size_of::<OutHeader>() + body) as u32,
            error: result.err().map_or(0, |error| -error.raw_os_error()),
            unique,
        }
    }
}
