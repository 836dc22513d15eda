//! A request, checked.

use rustix::io::Errno;
use thiserror::Error;
use zerocopy::FromBytes;

use super::arguments::*;
use super::init::InitIn;
use super::names::{BadName, Name, Target, XattrName};
use super::reader::Reader;
use super::{InHeader, Opcode};

/// A request that breaks the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BadRequest {
    #[error("the message has {0} bytes, less than a header")]
    NoHeader(usize),
    #[error("the header speaks of {said} bytes, the message has {have}")]
    Length { said: u32, have: usize },
    #[error(
        "the extensions are said to have {said} bytes, the message has {have} after its header"
    )]
    Extensions { said: usize, have: usize },
    #[error("no operation has the number {0}")]
    Opcode(u32),
    #[error("the arguments need {want} bytes and have {have}")]
    Short { want: usize, have: usize },
    #[error("{0} bytes follow the arguments")]
    Left(usize),
    #[error("the data have {have} bytes, the arguments speak of {said}")]
    Data { said: u32, have: usize },
    #[error(transparent)]
    Name(#[from] BadName),
}

impl BadRequest {
    /// What the client is told.
    pub fn errno(self) -> Errno {
        match self {
            BadRequest::Opcode(_) => Errno::NOSYS,
            BadRequest::Name(BadName::Long(_)) => Errno::NAMETOOLONG,
            _ => Errno::INVAL,
        }
    }
}

/// A request whose every length holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Who asks, and about which node.
    pub header: InHeader,
    /// What is asked.
    pub operation: Operation<'a>,
}

/// An operation with its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub enum Operation<'a> {
    Lookup(Name<'a>),
    Forget(ForgetIn),
    BatchForget(ForgetMany<'a>),
    Getattr(GetattrIn),
    Setattr(SetattrIn),
    Statx(StatxIn),
    Readlink,
    Symlink(Name<'a>, Target<'a>),
    Mknod(MknodIn, Name<'a>),
    Mkdir(MkdirIn, Name<'a>),
    Unlink(Name<'a>),
    Rmdir(Name<'a>),
    /// RENAME and RENAME2: arguments, old name, new name.
    Rename(Rename2In, Name<'a>, Name<'a>),
    Link(LinkIn, Name<'a>),
    Open(OpenIn),
    Create(CreateIn, Name<'a>),
    Tmpfile(CreateIn),
    Read(ReadIn),
    /// The data stay with the transport.
    Write(WriteIn),
    Statfs,
    Release(ReleaseIn),
    Fsync(FsyncIn),
    Setxattr(SetxattrIn, SetxattrExtIn, XattrName<'a>, &'a [u8]),
    Getxattr(GetxattrIn, XattrName<'a>),
    Listxattr(GetxattrIn),
    Removexattr(XattrName<'a>),
    Flush(FlushIn),
    Init(InitIn),
    Opendir(OpenIn),
    Readdir(ReadIn),
    Readdirplus(ReadIn),
    Releasedir(ReleaseIn),
    Fsyncdir(FsyncIn),
    Getlk(LkIn),
    Setlk(LkIn),
    Setlkw(LkIn),
    Access(AccessIn),
    Interrupt(InterruptIn),
    Destroy,
    Fallocate(FallocateIn),
    Lseek(LseekIn),
    CopyFileRange(CopyFileRangeIn),
    CopyFileRange64(CopyFileRangeIn),
    Setupmapping(SetupmappingIn),
    Removemapping(RemoveMany<'a>),
    Syncfs,
    /// Known to the protocol, but not served: BMAP, IOCTL, POLL, NOTIFY_REPLY.
    Unserved(Opcode),
}

/// The items of a BATCH_FORGET.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForgetMany<'a>(&'a [u8]);

impl ForgetMany<'_> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = ForgetOne> + '_ {
        items(self.0)
    }
}

/// The items of a REMOVEMAPPING.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveMany<'a>(&'a [u8]);

impl RemoveMany<'_> {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = RemovemappingOne> + '_ {
        items(self.0)
    }
}

fn items<T: FromBytes>(bytes: &[u8]) -> impl Iterator<Item = T> + '_ {
    bytes
        .chunks_exact(size_of::<T>())
        .filter_map(|item| T::read_from_bytes(item).ok())
}

impl<'a> Request<'a> {
    /// The header of a message, which is all that an answer needs.
    pub fn header(head: &[u8]) -> Result<InHeader, BadRequest> {
        InHeader::read_from_prefix(head)
            .map(|(header, _)| header)
            .map_err(|_| BadRequest::NoHeader(head.len()))
    }

    /// Checks a message of which `head` is everything but a WRITE's `data` bytes of data.
    pub fn parse(head: &'a [u8], data: usize) -> Result<Request<'a>, BadRequest> {
        let header = Request::header(head)?;
        if Some(header.len as usize) != head.len().checked_add(data) {
            return Err(BadRequest::Length {
                said: header.len,
                have: head.len().saturating_add(data),
            });
        }
        let body = &head[size_of::<InHeader>()..];
        let extensions = usize::from(header.extensions) * 8;
        let body = body
            .len()
            .checked_sub(extensions)
            .map(|end| &body[..end])
            .ok_or(BadRequest::Extensions {
                said: extensions,
                have: body.len(),
            })?;
        let opcode = Opcode::from_number(header.opcode).ok_or(BadRequest::Opcode(header.opcode))?;
        if opcode != Opcode::Write && data > 0 {
            return Err(BadRequest::Left(data));
        }
        Ok(Request {
            header,
            operation: operation(opcode, body, data)?,
        })
    }
}

fn operation(opcode: Opcode, body: &[u8], data: usize) -> Result<Operation<'_>, BadRequest> {
    let mut reader = Reader::new(body);
    let operation = match opcode {
        Opcode::Lookup => Operation::Lookup(reader.name()?),
        Opcode::Forget => Operation::Forget(reader.take()?),
        Opcode::BatchForget => {
            let arguments: BatchForgetIn = reader.take()?;
            Operation::BatchForget(ForgetMany(many::<ForgetOne>(&mut reader, arguments.count)?))
        }
        Opcode::Getattr => Operation::Getattr(reader.take()?),
        Opcode::Setattr => Operation::Setattr(reader.take()?),
        Opcode::Statx => Operation::Statx(reader.take()?),
        Opcode::Readlink => Operation::Readlink,
        Opcode::Symlink => Operation::Symlink(reader.name()?, reader.target()?),
        Opcode::Mknod => Operation::Mknod(reader.take()?, reader.name()?),
        Opcode::Mkdir => Operation::Mkdir(reader.take()?, reader.name()?),
        Opcode::Unlink => Operation::Unlink(reader.name()?),
        Opcode::Rmdir => Operation::Rmdir(reader.name()?),
        Opcode::Rename => {
            let RenameIn { newdir } = reader.take()?;
            let arguments = Rename2In {
                newdir,
                flags: 0,
                padding: 0,
            };
            Operation::Rename(arguments, reader.name()?, reader.name()?)
        }
        Opcode::Rename2 => Operation::Rename(reader.take()?, reader.name()?, reader.name()?),
        Opcode::Link => Operation::Link(reader.take()?, reader.name()?),
        Opcode::Open => Operation::Open(reader.take()?),
        Opcode::Create => Operation::Create(reader.take()?, reader.name()?),
        Opcode::Tmpfile => {
            let arguments = reader.take()?;
            // The client sends a name that means nothing ("/").
            reader.bytes(reader.left())?;
            Operation::Tmpfile(arguments)
        }
        Opcode::Read => Operation::Read(reader.take()?),
        Opcode::Write => {
            let arguments: WriteIn = reader.take()?;
            if arguments.size as usize != data {
                return Err(BadRequest::Data {
                    said: arguments.size,
                    have: data,
                });
            }
            Operation::Write(arguments)
        }
        Opcode::Statfs => Operation::Statfs,
        Opcode::Release => Operation::Release(reader.take()?),
        Opcode::Fsync => Operation::Fsync(reader.take()?),
        Opcode::Setxattr => {
            let arguments: SetxattrIn = reader.take()?;
            let more = reader.take()?;
            let name = reader.xattr_name()?;
            let value = reader.bytes(arguments.size as usize)?;
            Operation::Setxattr(arguments, more, name, value)
        }
        Opcode::Getxattr => Operation::Getxattr(reader.take()?, reader.xattr_name()?),
        Opcode::Listxattr => Operation::Listxattr(reader.take()?),
        Opcode::Removexattr => Operation::Removexattr(reader.xattr_name()?),
        Opcode::Flush => Operation::Flush(reader.take()?),
        Opcode::Init => {
            let arguments = reader.take_padded::<InitIn, { size_of::<InitIn>() }>(InitIn::SHORT)?;
            // A newer client may say more.
            reader.bytes(reader.left())?;
            Operation::Init(arguments)
        }
        Opcode::Opendir => Operation::Opendir(reader.take()?),
        Opcode::Readdir => Operation::Readdir(reader.take()?),
        Opcode::Readdirplus => Operation::Readdirplus(reader.take()?),
        Opcode::Releasedir => Operation::Releasedir(reader.take()?),
        Opcode::Fsyncdir => Operation::Fsyncdir(reader.take()?),
        Opcode::Getlk => Operation::Getlk(reader.take()?),
        Opcode::Setlk => Operation::Setlk(reader.take()?),
        Opcode::Setlkw => Operation::Setlkw(reader.take()?),
        Opcode::Access => Operation::Access(reader.take()?),
        Opcode::Interrupt => Operation::Interrupt(reader.take()?),
        Opcode::Destroy => Operation::Destroy,
        Opcode::Fallocate => Operation::Fallocate(reader.take()?),
        Opcode::Lseek => Operation::Lseek(reader.take()?),
        Opcode::CopyFileRange => Operation::CopyFileRange(reader.take()?),
        Opcode::CopyFileRange64 => Operation::CopyFileRange64(reader.take()?),
        Opcode::Setupmapping => Operation::Setupmapping(reader.take()?),
        Opcode::Removemapping => {
            let arguments: RemovemappingIn = reader.take()?;
            Operation::Removemapping(RemoveMany(many::<RemovemappingOne>(
                &mut reader,
                arguments.count,
            )?))
        }
        Opcode::Syncfs => {
            let _padding: u64 = reader.take()?;
            Operation::Syncfs
        }
        Opcode::Bmap | Opcode::Ioctl | Opcode::Poll | Opcode::NotifyReply => {
            return Ok(Operation::Unserved(opcode));
        }
    };
    reader.end()?;
    Ok(operation)
}

/// The bytes of `count` items.
fn many<'a, T>(reader: &mut Reader<'a>, count: u32) -> Result<&'a [u8], BadRequest> {
    reader.bytes((count as usize).saturating_mul(size_of::<T>()))
}
