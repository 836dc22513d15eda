//! What makes a file of the host the same file.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Statx, StatxFlags};
use rustix::io::Errno;

use crate::host_time;
use crate::wire::Name;

/// A file of the host, as long as it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The mount, because the same file may be reached through several with different rights.
    pub mount: u64,
    pub(super) device: u64,
    pub(super) inode: u64,
}

/// All that a client may learn of `file` at once.
pub fn status(file: impl AsFd) -> Result<Statx, Errno> {
    host_time::call(|| {
        rustix::fs::statx(
            file,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
            StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID,
        )
    })
}

/// The same of the entry `name` of `directory`, never of what a link points at.
pub fn status_of_entry(directory: impl AsFd, name: Name<'_>) -> Result<Statx, Errno> {
    host_time::call(|| {
        rustix::fs::statx(
            directory,
            name.as_c_str(),
            AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT,
            StatxFlags::BASIC_STATS | StatxFlags::BTIME | StatxFlags::MNT_ID,
        )
    })
}

/// When the file was made, in seconds and nanoseconds; zero where its file system does not know.
pub fn born(status: &Statx) -> (i64, u32) {
    (status.stx_btime.tv_sec, status.stx_btime.tv_nsec)
}

impl Key {
    /// The key of the file with this status.
    pub fn of(status: &Statx) -> Key {
        Key {
            mount: status.stx_mnt_id,
            device: rustix::fs::makedev(status.stx_dev_major, status.stx_dev_minor),
            inode: status.stx_ino,
        }
    }

    /// Where tables split: neighbours go to different places.
    pub fn spread(&self) -> usize {
        self.inode as usize
    }
}

/// The type in a status.
pub fn kind(status: &Statx) -> FileType {
    FileType::from_raw_mode(status.stx_mode.into())
}

/// `MAX_HANDLE_SZ`
const HANDLE_LIMIT: usize = 128;

/// A file's name within its file system, which no later file gets (`struct file_handle`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Handle {
    kind: i32,
    bytes: Box<[u8]>,
}

/// What proves that a file is the same one although no descriptor held it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// The file's name within its file system, where it has any.
    pub handle: Option<Handle>,
    born: (i64, u32),
}

impl Witness {
    /// The witness of `file`; `None` where its file system tells files apart by nothing but a number that another file
    /// may get later.
    pub fn of(file: BorrowedFd<'_>) -> Option<Witness> {
        let witness = Witness {
            handle: Handle::of(file).ok(),
            born: born(&status(file).ok()?),
        };
        (witness.handle.is_some() || witness.born != (0, 0)).then_some(witness)
    }
}

#[repr(C)]
struct RawHandle {
    bytes: u32,
    kind: i32,
    handle: [u8; HANDLE_LIMIT],
}

impl Handle {
    /// One that the kernel has told.
    pub fn new(kind: i32, bytes: &[u8]) -> Handle {
        Handle {
            kind,
            bytes: bytes.into(),
        }
    }

    /// The handle of `file`; EOPNOTSUPP where the file system has none.
    pub fn of(file: BorrowedFd<'_>) -> Result<Handle, Errno> {
        let mut raw = RawHandle {
            bytes: HANDLE_LIMIT as u32,
            kind: 0,
            handle: [0; HANDLE_LIMIT],
        };
        let mut mount: i32 = 0;
        // SAFETY: the descriptor is open, the path is empty and ended, `raw` has the room that its first field speaks
        // of, and the kernel writes nothing else but one int to `mount`.
        let result = host_time::call(|| unsafe {
            libc::syscall(
                libc::SYS_name_to_handle_at,
                file.as_raw_fd(),
                c"".as_ptr(),
                &raw mut raw,
                &raw mut mount,
                libc::AT_EMPTY_PATH,
            )
        });
        check(result)?;
        let used = (raw.bytes as usize).min(HANDLE_LIMIT);
        Ok(Handle {
            kind: raw.kind,
            bytes: raw.handle[..used].into(),
        })
    }

    /// The file again, as a place (`O_PATH`). `mount` is any open directory of its mount. ESTALE if it is gone.
    pub fn open(&self, mount: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
        let mut raw = RawHandle {
            bytes: self.bytes.len() as u32,
            kind: self.kind,
            handle: [0; HANDLE_LIMIT],
        };
        raw.handle[..self.bytes.len()].copy_from_slice(&self.bytes);
        // SAFETY: the descriptor is open, and `raw` is a whole handle which the kernel only reads.
        let result = host_time::call(|| unsafe {
            libc::syscall(
                libc::SYS_open_by_handle_at,
                mount.as_raw_fd(),
                &raw mut raw,
                libc::O_PATH | libc::O_NOFOLLOW | libc::O_CLOEXEC,
            )
        });
        let file = check(result)?;
        // SAFETY: the call gave us this new descriptor, which nothing else owns.
        Ok(unsafe { OwnedFd::from_raw_fd(file as i32) })
    }
}

/// What a raw system call returned.
pub(super) fn check(result: i64) -> Result<i64, Errno> {
    if result < 0 {
        let error = std::io::Error::last_os_error();
        Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    } else {
        Ok(result)
    }
}
