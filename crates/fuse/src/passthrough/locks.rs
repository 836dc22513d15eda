//! GETLK, SETLK and SETLKW where the host holds the locks.
//!
//! Every owner of locks on a file gets an open file description of its own, whose locks (`F_OFD_SETLK`, `flock`) are the
//! owner's. Closing it gives all of them back.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::opening::File;
use super::waiting::{Waiting, WhenGranted};
use super::{Passthrough, fd_path::FdPath};
use crate::host_time;
use crate::wire::{FileLock, LkIn, LkOut};

/// Two kinds of locks, which do not know of each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Of byte ranges, by processes (`fcntl(2)`).
    Posix,
    /// Of whole files, by open files (`flock(2)`).
    Flock,
}

/// How many owners of locks there may be: each has a descriptor.
const OWNERS_LIMIT: usize = 4096;

/// The locks that the host holds for the client.
#[derive(Debug)]
pub struct HostLocks {
    limit: usize,
    /// How files are opened to be locked. Exclusive locks of ranges need one open for writing.
    access: OFlags,
    owners: Mutex<HashMap<(u64, u64, Family), Arc<OwnedFd>>>,
    waiting: Waiting,
}

/// One lock to be taken or given back.
#[derive(Debug, Clone)]
pub(super) struct Request {
    owner: Arc<OwnedFd>,
    family: Family,
    lock: FileLock,
}

impl HostLocks {
    /// Of a directory in which the client may change something, or merely read; `descriptors` may be open for owners.
    pub(super) fn start(read_only: bool, descriptors: usize) -> std::io::Result<HostLocks> {
        Ok(HostLocks {
            limit: OWNERS_LIMIT.min(descriptors),
            // The host cannot execute what is open for writing.
            access: if read_only {
                OFlags::RDONLY
            } else {
                OFlags::RDWR
            },
            owners: Mutex::default(),
            waiting: Waiting::start()?,
        })
    }

    /// Gives everything back, and lets nobody wait any longer.
    pub(super) fn clear(&self) {
        self.waiting.cancel_all();
        self.owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    fn owner(&self, file: &File, owner: u64, family: Family) -> Result<Arc<OwnedFd>, Errno> {
        let mut owners = self.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (file.node.id, owner, family);
        if let Some(known) = owners.get(&key) {
            return Ok(Arc::clone(known));
        }
        if owners.len() >= self.limit {
            return Err(Errno::NOLCK);
        }
        let path = FdPath::new(&file.file);
        let open = |flags| {
            host_time::call(|| {
                rustix::fs::open(
                    path.as_c_str(),
                    flags | OFlags::CLOEXEC,
                    rustix::fs::Mode::empty(),
                )
            })
        };
        let opened = Arc::new(open(self.access).or_else(|_| open(OFlags::RDONLY))?);
        owners.insert(key, Arc::clone(&opened));
        Ok(opened)
    }
}

impl Passthrough {
    pub(crate) fn getlk(&self, arguments: &LkIn) -> Result<LkOut, Errno> {
        let locks = self.locks.as_ref().ok_or(Errno::NOSYS)?;
        let file = self.files.get(arguments.fh)?;
        let owner = locks.owner(&file, arguments.owner, Family::Posix)?;
        let mut wanted = raw(&arguments.lk)?;
        fcntl(&owner, libc::F_OFD_GETLK, &mut wanted)?;
        let found = if i32::from(wanted.l_type) == libc::F_UNLCK {
            FileLock {
                kind: libc::F_UNLCK as u32,
                ..arguments.lk
            }
        } else {
            FileLock {
                start: wanted.l_start as u64,
                end: match wanted.l_len {
                    0 => END,
                    len => (wanted.l_start + len - 1) as u64,
                },
                kind: wanted.l_type as u32,
                // The host's processes mean nothing to the client.
                pid: 0,
            }
        };
        Ok(LkOut { lk: found })
    }

    pub(crate) fn setlk(&self, arguments: &LkIn) -> Result<(), Errno> {
        let locks = self.locks.as_ref().ok_or(Errno::NOSYS)?;
        let done = self.request(locks, arguments)?.attempt();
        if arguments.lk.kind == libc::F_UNLCK as u32 {
            locks.waiting.wake();
        }
        done
    }

    /// Takes the lock now, or calls `granted` when it was taken or the wait was interrupted.
    pub(crate) fn setlkw(
        &self,
        unique: u64,
        arguments: &LkIn,
        granted: WhenGranted,
    ) -> Result<(), Errno> {
        let locks = self.locks.as_ref().ok_or(Errno::NOSYS)?;
        let request = self.request(locks, arguments)?;
        locks.waiting.wait_for(unique, request, granted);
        Ok(())
    }

    /// The client no longer waits for request `unique`. Whether interrupts are of use at all.
    pub(crate) fn interrupt(&self, unique: u64) -> Result<(), Errno> {
        let locks = self.locks.as_ref().ok_or(Errno::NOSYS)?;
        locks.waiting.interrupt(unique);
        Ok(())
    }

    /// Gives all locks of an owner back.
    pub(super) fn unlock(&self, file: &File, owner: u64, family: Family) {
        let Some(locks) = &self.locks else { return };
        let mut owners = locks.owners.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (file.node.id, owner, family);
        let Some(known) = owners.get(&key) else {
            return;
        };
        if Arc::strong_count(known) > 1 {
            // The owner waits for another lock, which must be the owner's when it is granted.
            let everything = Request {
                owner: Arc::clone(known),
                family,
                lock: FileLock {
                    start: 0,
                    end: END,
                    kind: libc::F_UNLCK as u32,
                    pid: 0,
                },
            };
            if let Err(error) = everything.attempt() {
                tracing::debug!(%error, "locks are not given back");
            }
        } else {
            owners.remove(&key);
        }
        drop(owners);
        locks.waiting.wake();
    }

    fn request(&self, locks: &HostLocks, arguments: &LkIn) -> Result<Request, Errno> {
        let file = self.files.get(arguments.fh)?;
        let family = if arguments.lk_flags & LkIn::FLOCK != 0 {
            Family::Flock
        } else {
            Family::Posix
        };
        raw(&arguments.lk)?;
        Ok(Request {
            owner: locks.owner(&file, arguments.owner, family)?,
            family,
            lock: arguments.lk,
        })
    }
}

impl Request {
    /// Takes the lock or gives it back; EAGAIN if somebody else has it.
    pub(super) fn attempt(&self) -> Result<(), Errno> {
        match self.family {
            Family::Posix => fcntl(&self.owner, libc::F_OFD_SETLK, &mut raw(&self.lock)?),
            Family::Flock => {
                use rustix::fs::FlockOperation as Flock;
                let operation = match self.lock.kind as i32 {
                    libc::F_RDLCK => Flock::NonBlockingLockShared,
                    libc::F_WRLCK => Flock::NonBlockingLockExclusive,
                    _ => Flock::NonBlockingUnlock,
                };
                rustix::fs::flock(&*self.owner, operation)
            }
        }
    }
}

/// The last offset of a lock to the file's end (`OFFSET_MAX`).
const END: u64 = i64::MAX as u64;

fn raw(lock: &FileLock) -> Result<libc::flock, Errno> {
    let kind = lock.kind as i32;
    if ![libc::F_RDLCK, libc::F_WRLCK, libc::F_UNLCK].contains(&kind)
        || lock.end < lock.start
        || lock.end > END
    {
        return Err(Errno::INVAL);
    }
    Ok(libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: lock.start as i64,
        l_len: if lock.end == END {
            0
        } else {
            (lock.end - lock.start + 1) as i64
        },
        l_pid: 0,
    })
}

fn fcntl(file: &OwnedFd, command: i32, lock: &mut libc::flock) -> Result<(), Errno> {
    // SAFETY: the descriptor is open for the call's length, and the kernel reads and writes one `flock` only.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), command, lock as *mut libc::flock) };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
}
