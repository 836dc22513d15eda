//! Which operation is whose.

use rustix::fs::OFlags;
use rustix::io::Errno;
use zerocopy::FromZeros;

use super::answer::Answer;
use super::transport::{Payload, Reply};
use super::{DATA_LIMIT, Server, only};
use crate::host_time;
use crate::passthrough::{Caller, VALUE_LIMIT};
use crate::wire::{
    CopyFileRangeOut, GetxattrIn, GetxattrOut, LkIn, LseekOut, OpenIn, Operation, ReadIn,
    SetupmappingIn, WriteOut,
};

impl Server {
    pub(super) fn carry_out(
        &self,
        caller: &mut Caller<'_>,
        operation: &Operation<'_>,
        payload: &dyn Payload,
        reply: &mut dyn Reply,
    ) -> Result<Answer, Errno> {
        if self.directory.config().read_only && changes(operation) {
            return Err(Errno::ROFS);
        }
        if let Some(only) = &self.directory.config().only {
            only::check(only, caller.header.node, operation)?;
        }
        let directory = &self.directory;
        let node = caller.header.node;
        match operation {
            Operation::Init(arguments) => Ok(Answer::fixed(&self.init(arguments)?)),
            Operation::Destroy => {
                directory.reset();
                Ok(Answer::Empty)
            }
            Operation::Interrupt(arguments) => directory
                .interrupt(arguments.unique)
                .map(|()| Answer::Silent),
            Operation::Unserved(_) => Err(Errno::NOSYS),

            Operation::Lookup(name) => directory.lookup(node, *name).map(Answer::Entry),
            Operation::Forget(arguments) => {
                directory.forget(node, arguments.nlookup);
                Ok(Answer::Silent)
            }
            Operation::BatchForget(many) => {
                for one in many.iter() {
                    directory.forget(one.node, one.nlookup);
                }
                Ok(Answer::Silent)
            }

            Operation::Getattr(arguments) => fixed(directory.getattr(node, arguments)),
            Operation::Setattr(arguments) => fixed(directory.setattr(caller, arguments)),
            Operation::Statx(arguments) => fixed(directory.statx(node, arguments)),
            Operation::Access(arguments) => empty(directory.access(node, arguments)),
            Operation::Statfs => fixed(directory.statfs(node)),

            Operation::Readlink => {
                caller.worker.scratch = directory.readlink(node)?;
                Ok(Answer::Scratch)
            }
            Operation::Symlink(name, target) => {
                directory.symlink(caller, *name, *target).map(Answer::Entry)
            }
            Operation::Mknod(arguments, name) => {
                directory.mknod(caller, arguments, *name).map(Answer::Entry)
            }
            Operation::Mkdir(arguments, name) => {
                directory.mkdir(caller, arguments, *name).map(Answer::Entry)
            }
            Operation::Link(arguments, name) => {
                directory.link(node, arguments, *name).map(Answer::Entry)
            }
            Operation::Unlink(name) => empty(directory.unlink(node, *name)),
            Operation::Rmdir(name) => empty(directory.rmdir(node, *name)),
            Operation::Rename(arguments, old, new) => {
                empty(directory.rename(caller, arguments, *old, *new))
            }

            Operation::Open(arguments) => directory.open(caller, node, arguments).map(Answer::File),
            Operation::Create(arguments, name) => directory
                .create(caller, arguments, *name)
                .map(|(told, opened)| Answer::Created(told, opened)),
            Operation::Tmpfile(arguments) => directory
                .tmpfile(caller, arguments)
                .map(|(told, opened)| Answer::Created(told, opened)),
            Operation::Release(arguments) => empty(directory.release(arguments)),
            Operation::Flush(arguments) => empty(directory.flush(arguments)),
            Operation::Fsync(arguments) => empty(directory.fsync(caller, arguments)),
            Operation::Fsyncdir(arguments) => empty(directory.fsyncdir(node, arguments)),
            Operation::Syncfs => empty(directory.syncfs(node)),

            Operation::Read(arguments) => {
                let file = directory.file(caller, arguments.fh)?;
                let count = (arguments.size as usize).min(DATA_LIMIT);
                host_time::call(|| reply.fill(file.data(), arguments.offset, count))
                    .map(Answer::Filled)
            }
            Operation::Write(arguments) => {
                let size = directory.write(caller, arguments, payload)?;
                Ok(Answer::fixed(&WriteOut { size, padding: 0 }))
            }
            Operation::Lseek(arguments) => {
                let offset = directory.lseek(caller, arguments)?;
                Ok(Answer::fixed(&LseekOut { offset }))
            }
            Operation::Fallocate(arguments) => empty(directory.fallocate(caller, arguments)),
            Operation::CopyFileRange(arguments) => {
                let copied = directory.copy_file_range(caller, arguments)?;
                Ok(Answer::fixed(&WriteOut {
                    size: copied as u32,
                    padding: 0,
                }))
            }
            Operation::CopyFileRange64(arguments) => {
                let bytes = directory.copy_file_range(caller, arguments)?;
                Ok(Answer::fixed(&CopyFileRangeOut { bytes }))
            }

            Operation::Opendir(_) => directory.opendir(node).map(Answer::Directory),
            Operation::Readdir(arguments) => {
                let limit = room(caller, arguments);
                directory.readdir(node, arguments, limit, &mut caller.worker.scratch)?;
                Ok(Answer::Scratch)
            }
            Operation::Readdirplus(arguments) => {
                let limit = room(caller, arguments);
                let mut told = Vec::new();
                let scratch = &mut caller.worker.scratch;
                let read = directory.readdirplus(node, arguments, limit, scratch, &mut told);
                if let Err(error) = read {
                    told.iter().for_each(|entry| directory.untell(entry));
                    return Err(error);
                }
                Ok(Answer::Listed(told))
            }
            Operation::Releasedir(arguments) => empty(directory.releasedir(arguments)),

            Operation::Setxattr(arguments, more, name, value) => {
                empty(directory.setxattr(caller, arguments, more, *name, value))
            }
            Operation::Getxattr(arguments, name) => {
                let buffer = value_room(caller, arguments);
                let len = directory.getxattr(node, *name, buffer)?;
                Ok(value(caller, arguments, len))
            }
            Operation::Listxattr(arguments) => {
                let buffer = value_room(caller, arguments);
                let len = directory.listxattr(node, buffer)?;
                Ok(value(caller, arguments, len))
            }
            Operation::Removexattr(name) => empty(directory.removexattr(node, *name)),

            Operation::Getlk(arguments) => fixed(directory.getlk(arguments)),
            Operation::Setlk(arguments) => empty(directory.setlk(arguments)),
            Operation::Setlkw(arguments) => self.wait_for_lock(caller, arguments, reply),

            Operation::Setupmapping(arguments) => empty(directory.setupmapping(node, arguments)),
            Operation::Removemapping(many) => empty(directory.removemapping(many.iter())),
        }
    }

    fn wait_for_lock(
        &self,
        caller: &Caller<'_>,
        arguments: &LkIn,
        reply: &mut dyn Reply,
    ) -> Result<Answer, Errno> {
        let Some(later) = reply.later() else {
            return empty(self.directory.setlk(arguments));
        };
        let unique = caller.header.unique;
        self.directory.setlkw(
            unique,
            arguments,
            Box::new(move |result| later.send(unique, result)),
        )?;
        Ok(Answer::Silent)
    }
}

fn fixed<T: zerocopy::IntoBytes + zerocopy::Immutable>(
    result: Result<T, Errno>,
) -> Result<Answer, Errno> {
    result.map(|result| Answer::fixed(&result))
}

fn empty(result: Result<(), Errno>) -> Result<Answer, Errno> {
    result.map(|()| Answer::Empty)
}

/// Empties the worker's scratch space; how many bytes the client takes.
fn room(caller: &mut Caller<'_>, arguments: &ReadIn) -> usize {
    caller.worker.scratch.clear();
    (arguments.size as usize).min(DATA_LIMIT)
}

/// The worker's scratch space, as long as what the client takes.
fn value_room<'a>(caller: &'a mut Caller<'_>, arguments: &GetxattrIn) -> &'a mut [u8] {
    let scratch = &mut caller.worker.scratch;
    scratch.clear();
    scratch.resize((arguments.size as usize).min(VALUE_LIMIT), 0);
    scratch
}

fn value(caller: &mut Caller<'_>, arguments: &GetxattrIn, len: usize) -> Answer {
    if arguments.size == 0 {
        let mut size = GetxattrOut::new_zeroed();
        size.size = len as u32;
        return Answer::fixed(&size);
    }
    caller.worker.scratch.truncate(len);
    Answer::Scratch
}

/// Whether an operation may change something.
fn changes(operation: &Operation<'_>) -> bool {
    let opens_to_write = |flags: u32| {
        let flags = OFlags::from_bits_retain(flags);
        flags & OFlags::RWMODE != OFlags::RDONLY || flags.contains(OFlags::TRUNC)
    };
    match operation {
        Operation::Open(OpenIn { flags, .. }) => opens_to_write(*flags),
        Operation::Setupmapping(arguments) => arguments.flags & SetupmappingIn::WRITE != 0,
        Operation::Setattr(_)
        | Operation::Symlink(..)
        | Operation::Mknod(..)
        | Operation::Mkdir(..)
        | Operation::Unlink(_)
        | Operation::Rmdir(_)
        | Operation::Rename(..)
        | Operation::Link(..)
        | Operation::Create(..)
        | Operation::Tmpfile(_)
        | Operation::Write(_)
        | Operation::Setxattr(..)
        | Operation::Removexattr(_)
        | Operation::Fallocate(_)
        | Operation::CopyFileRange(_)
        | Operation::CopyFileRange64(_) => true,
        _ => false,
    }
}
