//! OPENDIR, READDIR, READDIRPLUS and RELEASEDIR.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{FileType, Mode, OFlags, RawDir, SeekFrom};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

use super::entries::Told;
use super::identity::Key;
use super::lifetimes::Parent;
use super::opening::Opened;
use super::{Cache, Passthrough};
use crate::host_time;
use crate::wire::{Dirent, EntryOut, Name, OpenOut, ROOT, ReadIn, ReleaseIn};

/// Bytes of entries that are taken from the host at once.
const BATCH: usize = 16 * 1024;

/// A directory that the client has open.
#[derive(Debug)]
pub struct Directory {
    pub(super) file: OwnedFd,
    key: Key,
    /// The only entry that is listed, if not all are.
    only: Option<CString>,
    position: Mutex<Position>,
}

/// Where a directory was read to.
#[derive(Debug, Default)]
struct Position {
    /// Where the client's next read begins, if it just goes on.
    next: u64,
    /// What was taken from the host and not yet told.
    entries: std::collections::VecDeque<Entry>,
}

#[derive(Debug)]
struct Entry {
    ino: u64,
    next: u64,
    kind: FileType,
    name: Box<std::ffi::CStr>,
}

impl Passthrough {
    pub(crate) fn opendir(&self, node: u64) -> Result<Opened, Errno> {
        // The client does not ask again, and keeps its list of the entries.
        if !self.config.opens() {
            return Err(Errno::NOSYS);
        }
        let parent = self.parent(node)?;
        let directory = self.list(&parent)?;
        let open_flags = match self.config.cache {
            Cache::Never => 0,
            Cache::Auto if self.lists_as_before(&parent, &directory.file) => {
                OpenOut::CACHE_DIR | OpenOut::KEEP_CACHE
            }
            Cache::Metadata | Cache::Auto => OpenOut::CACHE_DIR,
            Cache::Always => OpenOut::CACHE_DIR | OpenOut::KEEP_CACHE,
        };
        Ok(Opened(OpenOut {
            fh: self.directories.insert(directory)?,
            open_flags,
            padding: 0,
        }))
    }

    fn list(&self, directory: &Parent) -> Result<Directory, Errno> {
        let file = host_time::call(|| {
            rustix::fs::openat(
                &*directory.file,
                c".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })?;
        Ok(Directory {
            file,
            key: directory.node.key,
            only: self.config.only.clone(),
            position: Mutex::default(),
        })
    }

    /// The directory that a request about `node` with this handle means. Where the client opens none, it is opened for
    /// this request.
    pub(super) fn directory(&self, node: u64, handle: u64) -> Result<Arc<Directory>, Errno> {
        if self.config.opens() {
            return self.directories.get(handle);
        }
        Ok(Arc::new(self.list(&self.parent(node)?)?))
    }

    /// Closes a handle that did not reach the client.
    pub(crate) fn unopendir(&self, opened: &OpenOut) {
        self.directories.remove(opened.fh);
    }

    pub(crate) fn releasedir(&self, arguments: &ReleaseIn) -> Result<(), Errno> {
        self.directories
            .remove(arguments.fh)
            .map(|_| ())
            .ok_or(Errno::BADF)
    }

    /// Entries from an offset on, as many as fit in `limit` bytes, appended to `reply`.
    pub(crate) fn readdir(
        &self,
        node: u64,
        arguments: &ReadIn,
        limit: usize,
        reply: &mut Vec<u8>,
    ) -> Result<(), Errno> {
        let directory = self.directory(node, arguments.fh)?;
        directory.read(arguments.offset, |entry| {
            if reply.len() + padded(size_of::<Dirent>() + entry.name.count_bytes()) > limit {
                return false;
            }
            self.put(&directory, node, entry, reply);
            true
        })
    }

    /// The same with each entry looked up; the client will have been told of all that are in `told`.
    pub(crate) fn readdirplus(
        &self,
        node: u64,
        arguments: &ReadIn,
        limit: usize,
        reply: &mut Vec<u8>,
        told: &mut Vec<EntryOut>,
    ) -> Result<(), Errno> {
        let directory = self.directory(node, arguments.fh)?;
        let parent = self.parent(node)?;
        directory.read(arguments.offset, |entry| {
            let len = size_of::<EntryOut>() + size_of::<Dirent>() + entry.name.count_bytes();
            if reply.len() + padded(len) > limit {
                return false;
            }
            // The names "." and ".." are the client's own business. An entry that went away, or cannot be looked at, is
            // listed without attributes.
            let looked_up = Name::new(&entry.name)
                .ok()
                .and_then(|name| self.entry(&parent, name).ok());
            match looked_up {
                Some(Told(entry_out)) => {
                    told.push(entry_out);
                    reply.extend(entry_out.as_bytes());
                }
                None => reply.extend(EntryOut::new_zeroed().as_bytes()),
            }
            self.put(&directory, node, entry, reply);
            true
        })
    }

    fn put(&self, directory: &Directory, node: u64, entry: &Entry, reply: &mut Vec<u8>) {
        let name = entry.name.to_bytes();
        // What is above the shared directory is none of the client's business.
        let ino = if node == ROOT && name == b".." {
            ROOT
        } else {
            self.numbers.within(&directory.key, entry.ino)
        };
        let header = Dirent {
            ino,
            off: entry.next,
            namelen: name.len() as u32,
            kind: entry.kind.as_raw_mode() >> 12,
        };
        reply.extend(header.as_bytes());
        reply.extend(name);
        reply.resize(padded(reply.len()), 0);
    }
}

impl Directory {
    /// Hands entries from `offset` on to `take`, until it has no room for one, or there are no more.
    fn read(&self, offset: u64, mut take: impl FnMut(&Entry) -> bool) -> Result<(), Errno> {
        let mut position = self.position.lock().unwrap_or_else(PoisonError::into_inner);
        if position.next != offset {
            host_time::call(|| rustix::fs::seek(&self.file, SeekFrom::Start(offset)))?;
            position.entries.clear();
            position.next = offset;
        }
        loop {
            if position.entries.is_empty() && !self.fetch(&mut position)? {
                return Ok(());
            }
            while let Some(entry) = position.entries.front() {
                if !take(entry) {
                    return Ok(());
                }
                position.next = entry.next;
                position.entries.pop_front();
            }
        }
    }

    /// Takes the next entries from the host; whether there were any.
    fn fetch(&self, position: &mut Position) -> Result<bool, Errno> {
        let mut buffer = [MaybeUninit::uninit(); BATCH];
        let mut entries = RawDir::new(&self.file, &mut buffer);
        while let Some(entry) = host_time::call(|| entries.next()) {
            let entry = entry?;
            if self
                .only
                .as_deref()
                .is_some_and(|only| only != entry.file_name())
            {
                continue;
            }
            position.entries.push_back(Entry {
                ino: entry.ino(),
                next: entry.next_entry_cookie(),
                kind: entry.file_type(),
                name: entry.file_name().into(),
            });
            if entries.is_buffer_empty() && !position.entries.is_empty() {
                break;
            }
        }
        Ok(!position.entries.is_empty())
    }
}

fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}
