//! READ, WRITE, LSEEK and FALLOCATE.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{FallocateFlags, OFlags};
use rustix::io::{Errno, ReadWriteFlags};

use super::opening::File;
use super::{Caller, Passthrough};
use crate::host_time;
use crate::server::Payload;
use crate::wire::{FallocateIn, LseekIn, WriteIn};

impl Passthrough {
    pub(crate) fn write(
        &self,
        caller: &mut Caller<'_>,
        arguments: &WriteIn,
        payload: &dyn Payload,
    ) -> Result<u32, Errno> {
        let file = self.files.get(arguments.fh)?;
        caller
            .worker
            .keep_bits(arguments.write_flags & WriteIn::KILL_SUIDGID == 0)?;
        self.drop_mapped_capability(&file.file)?;
        let flags = flags_of(arguments);
        let written =
            host_time::call(|| payload.write_to(file.file.as_fd(), arguments.offset, flags))?;
        file.node
            .written(arguments.offset.saturating_add(written as u64));
        Ok(written as u32)
    }

    pub(crate) fn lseek(&self, caller: &mut Caller<'_>, arguments: &LseekIn) -> Result<u64, Errno> {
        let file = self.file(caller, arguments.fh)?;
        // Only holes and data are asked for; the client knows its positions itself.
        let to = match arguments.whence as i32 {
            libc::SEEK_DATA => rustix::fs::SeekFrom::Data(arguments.offset),
            libc::SEEK_HOLE => rustix::fs::SeekFrom::Hole(arguments.offset),
            _ => return Err(Errno::INVAL),
        };
        host_time::call(|| rustix::fs::seek(&file.file, to))
    }

    pub(crate) fn fallocate(
        &self,
        caller: &mut Caller<'_>,
        arguments: &FallocateIn,
    ) -> Result<(), Errno> {
        let file = self.files.get(arguments.fh)?;
        let mode = FallocateFlags::from_bits(arguments.mode).ok_or(Errno::OPNOTSUPP)?;
        // The protocol does not say who asks for bits to stay: an ordinary user's action would clear them.
        caller.worker.keep_bits(caller.header.uid == 0)?;
        self.drop_mapped_capability(&file.file)?;
        host_time::call(|| {
            rustix::fs::fallocate(&file.file, mode, arguments.offset, arguments.length)
        })?;
        if !mode.contains(FallocateFlags::KEEP_SIZE) {
            let end = arguments.offset.saturating_add(arguments.length);
            file.node.written(end);
        }
        Ok(())
    }
}

/// What the client asks of one write: it goes to the file's end, or is on the disk when it is answered.
fn flags_of(arguments: &WriteIn) -> ReadWriteFlags {
    let asked = OFlags::from_bits_retain(arguments.flags);
    let mut flags = ReadWriteFlags::empty();
    // Pages that the client has collected have their place.
    flags.set(
        ReadWriteFlags::APPEND,
        asked.contains(OFlags::APPEND) && arguments.write_flags & WriteIn::CACHE == 0,
    );
    flags.set(ReadWriteFlags::DSYNC, asked.contains(OFlags::DSYNC));
    flags.set(ReadWriteFlags::SYNC, asked.contains(OFlags::SYNC));
    flags
}

impl File {
    /// The file's data.
    pub(crate) fn data(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
