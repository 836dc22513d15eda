//! OPEN, RELEASE, FLUSH and FSYNC, and when the client may keep a file's data.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FileType, Mode, OFlags, Statx};
use rustix::io::Errno;

use super::fd_path::FdPath;
use super::locks::Family;
use super::nodes::Node;
use super::places::Descriptor;
use super::{Cache, Caller, Passthrough, identity};
use crate::host_time;
use crate::wire::{FlushIn, FsyncIn, OPEN_KILL_SUIDGID, OpenIn, OpenOut, ReleaseIn};

/// A file that the client has open.
#[derive(Debug)]
pub struct File {
    pub(super) node: Arc<Node>,
    pub(super) file: OwnedFd,
}

/// A handle that reaches the client, or must be closed again.
#[derive(Debug)]
pub(crate) struct Opened(pub OpenOut);

/// What tells whether a file's data changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    changed: (i64, u32),
    modified: (i64, u32),
    size: u64,
}

/// Clocks of file systems are as coarse as this: a change within this time of another may not show.
const COARSE: Duration = Duration::from_millis(20);

impl Version {
    pub(super) fn of(status: &Statx) -> Version {
        Version {
            changed: (status.stx_ctime.tv_sec, status.stx_ctime.tv_nsec),
            modified: (status.stx_mtime.tv_sec, status.stx_mtime.tv_nsec),
            size: status.stx_size,
        }
    }

    /// Whether any later change will show.
    pub(super) fn settled(&self) -> bool {
        let (seconds, nanoseconds) = self.changed;
        u64::try_from(seconds)
            .ok()
            .and_then(|seconds| UNIX_EPOCH.checked_add(Duration::new(seconds, nanoseconds)))
            .and_then(|changed| SystemTime::now().duration_since(changed).ok())
            .is_some_and(|age| age > COARSE)
    }
}

impl File {
    pub(super) fn new(node: Arc<Node>, file: OwnedFd) -> File {
        node.opened.fetch_add(1, Ordering::Relaxed);
        File { node, file }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        self.node.opened.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The flags of the client that have a meaning on the host.
///
/// Not `O_APPEND`: each write says whether it appends. Not `O_DIRECT`: the client's alignment is not the host's; the
/// client's own cache is bypassed anyway. A client that collects writes needs to read around them.
pub(super) fn flags_of(flags: u32, writeback: bool) -> OFlags {
    let kept = OFlags::RWMODE | OFlags::TRUNC | OFlags::DSYNC | OFlags::SYNC;
    let flags = OFlags::from_bits_retain(flags) & kept;
    if writeback && flags & OFlags::RWMODE == OFlags::WRONLY {
        flags.difference(OFlags::RWMODE) | OFlags::RDWR
    } else {
        flags
    }
}

impl Passthrough {
    pub(crate) fn open(
        &self,
        caller: &mut Caller<'_>,
        node: u64,
        arguments: &OpenIn,
    ) -> Result<Opened, Errno> {
        // The client does not ask again.
        if !self.config.opens() {
            return Err(Errno::NOSYS);
        }
        let (node, place) = self.place(node)?;
        let flags = flags_of(arguments.flags, self.config.writeback);
        if flags.contains(OFlags::TRUNC) {
            caller
                .worker
                .keep_bits(arguments.open_flags & OPEN_KILL_SUIDGID == 0)?;
            self.drop_mapped_capability(&*place)?;
        }
        let file = Self::open_again(&node, &place, flags)?;
        let mut status = None;
        if flags.contains(OFlags::TRUNC) {
            node.believed(0);
        } else if self.config.cache == Cache::Auto {
            let found = identity::status(&file)?;
            if node.sends_back(caller.header.pid, found.stx_size) {
                // The client would read as far as it takes the file to be long. Upon this error it looks the name up
                // anew, learns the length, and opens the file once more.
                return Err(Errno::STALE);
            }
            status = Some(found);
        }
        self.opened(File::new(node, file), arguments.flags, status.as_ref())
    }

    /// The file that a request about `node` with this handle means. Where the client opens none, it is the one that the
    /// thread read last, or opened for this request.
    pub(crate) fn file(&self, caller: &mut Caller<'_>, handle: u64) -> Result<Arc<File>, Errno> {
        if self.config.opens() {
            return self.files.get(handle);
        }
        let last = &mut caller.worker.last;
        if let Some(file) = last
            .as_ref()
            .filter(|file| file.node.id == caller.header.node)
        {
            return Ok(Arc::clone(file));
        }
        let (node, place) = self.place(caller.header.node)?;
        let file = Self::open_again(&node, &place, OFlags::RDONLY)?;
        Ok(Arc::clone(last.insert(Arc::new(File::new(node, file)))))
    }

    /// Opens the data of `node`. Only regular files have any: opening what the client calls a device or a pipe would do
    /// something to the host.
    pub(super) fn open_again(
        node: &Node,
        place: &Descriptor,
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
        match node.kind {
            FileType::RegularFile => host_time::call(|| {
                rustix::fs::open(
                    FdPath::new(place).as_c_str(),
                    flags | OFlags::CLOEXEC | OFlags::NOCTTY,
                    Mode::empty(),
                )
            }),
            FileType::Directory => Err(Errno::ISDIR),
            FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::NXIO),
        }
    }

    /// A handle for `file`, which had this `status` just now, if anybody has looked.
    pub(super) fn opened(
        &self,
        file: File,
        flags: u32,
        status: Option<&Statx>,
    ) -> Result<Opened, Errno> {
        let open_flags = match self.config.cache {
            Cache::Never | Cache::Metadata => OpenOut::DIRECT_IO | OpenOut::PARALLEL_DIRECT_WRITES,
            Cache::Always => OpenOut::KEEP_CACHE,
            Cache::Auto if Self::unchanged(&file, status) => OpenOut::KEEP_CACHE,
            Cache::Auto => 0,
        };
        // Closing tells the server nothing if the file was only read, or if the host's own close cannot fail.
        let reads = flags & OFlags::RWMODE.bits() == OFlags::RDONLY.bits();
        let silent = reads || self.is_local(&file.node);
        let no_flush = if silent && self.locks.is_none() {
            OpenOut::NOFLUSH
        } else {
            0
        };
        Ok(Opened(OpenOut {
            fh: self.files.insert(file)?,
            open_flags: open_flags | no_flush,
            padding: 0,
        }))
    }

    /// Whether a file is on a file system of the host's own; see [`is_local`].
    pub(super) fn is_local(&self, node: &Node) -> bool {
        self.local_mount == Some(node.key.mount)
    }

    /// Whether the file is as it was when the client last opened or closed it, so that the client's pages are right.
    fn unchanged(file: &File, status: Option<&Statx>) -> bool {
        let Ok(status) = status.map_or_else(|| identity::status(&file.file), |known| Ok(*known))
        else {
            return false;
        };
        let now = Version::of(&status);
        let mut seen = file
            .node
            .version
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *seen, now.settled().then_some(now));
        before == Some(now)
    }

    /// Closes a handle that did not reach the client.
    pub(crate) fn unopen(&self, opened: &OpenOut) {
        self.files.remove(opened.fh);
    }

    pub(crate) fn release(&self, arguments: &ReleaseIn) -> Result<(), Errno> {
        let file = self.files.get(arguments.fh)?;
        if arguments.release_flags & ReleaseIn::FLOCK_UNLOCK != 0 {
            self.unlock(&file, arguments.lock_owner, Family::Flock);
        }
        self.files.remove(arguments.fh);
        Ok(())
    }

    /// Closing one of a file's descriptors: errors of the host's close are reported, POSIX locks are given back.
    pub(crate) fn flush(&self, arguments: &FlushIn) -> Result<(), Errno> {
        if !self.config.opens() {
            return Err(Errno::NOSYS);
        }
        let file = self.files.get(arguments.fh)?;
        self.unlock(&file, arguments.lock_owner, Family::Posix);
        let copy = rustix::io::fcntl_dupfd_cloexec(&file.file, 0)?;
        close(copy)
    }

    pub(crate) fn fsync(&self, caller: &mut Caller<'_>, arguments: &FsyncIn) -> Result<(), Errno> {
        let file = self.file(caller, arguments.fh)?;
        synchronise(&file.file, arguments)
    }

    pub(crate) fn fsyncdir(&self, node: u64, arguments: &FsyncIn) -> Result<(), Errno> {
        let directory = self.directory(node, arguments.fh)?;
        synchronise(&directory.file, arguments)
    }

    pub(crate) fn syncfs(&self, node: u64) -> Result<(), Errno> {
        let place = self.place(node)?.1;
        let file = host_time::call(|| {
            rustix::fs::openat(
                &*place,
                c".",
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })?;
        host_time::call(|| rustix::fs::syncfs(file))
    }
}

/// tmpfs, ext4 (and its elders), XFS, Btrfs, F2FS (`linux/magic.h`).
const LOCAL: [u32; 5] = [0x0102_1994, 0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010];

/// Whether the file system of `directory` is one of those that only this kernel changes, and that write nothing when a file
/// is closed, so that closing never reports an error.
pub(super) fn is_local(directory: &OwnedFd) -> bool {
    rustix::fs::fstatfs(directory).is_ok_and(|found| LOCAL.contains(&(found.f_type as u32)))
}

fn synchronise(file: &OwnedFd, arguments: &FsyncIn) -> Result<(), Errno> {
    if arguments.flags & 1 == 0 {
        host_time::call(|| rustix::fs::fsync(file))
    } else {
        host_time::call(|| rustix::fs::fdatasync(file))
    }
}

/// Some file systems report at close what went wrong with writing.
fn close(file: OwnedFd) -> Result<(), Errno> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor was ours alone, and `into_raw_fd` gave it up, so nothing uses it afterwards.
    if host_time::call(|| unsafe { libc::close(file.into_raw_fd()) }) == 0 {
        Ok(())
    } else {
        let error = std::io::Error::last_os_error();
        Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}
