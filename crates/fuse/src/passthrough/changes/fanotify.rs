//! fanotify(7), as far as changes of directories need it: no privilege, events by directory and name.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::passthrough::identity::{Handle, check};

/// All that changes what a client may believe of a directory and of what it holds.
const MASK: u64 = libc::FAN_MODIFY
    | libc::FAN_ATTRIB
    | libc::FAN_CREATE
    | libc::FAN_DELETE
    | libc::FAN_MOVED_FROM
    | libc::FAN_MOVED_TO
    | libc::FAN_EVENT_ON_CHILD
    | libc::FAN_ONDIR;

/// Those of them that change the directory itself, its times and its size.
const LISTING: u64 =
    libc::FAN_CREATE | libc::FAN_DELETE | libc::FAN_MOVED_FROM | libc::FAN_MOVED_TO;

/// Bytes of `struct fanotify_event_metadata`, of `fanotify_event_info_header`, of the file system's number after that,
/// and of what begins a `file_handle`.
const METADATA: usize = 24;
const INFO: usize = 4;
const FSID: usize = 8;
const HANDLE: usize = 8;

/// A group of marks, and the queue of what happens at them.
#[derive(Debug)]
pub struct Group(OwnedFd);

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// In a directory.
    In {
        /// The directory.
        directory: Handle,
        /// Which of its entries; `.` for itself.
        name: &'a CStr,
        /// Whether entries came or went.
        listing: bool,
        /// Whether the entry has left the directory with its file.
        left: bool,
        /// Whether this very process did it.
        own: bool,
    },
    /// More than the queue could hold.
    Overflow,
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Group {
    /// An empty group. Linux 5.13 or newer; users have a limit of groups (`fs.fanotify.max_user_groups`): EMFILE.
    pub fn new() -> Result<Group, Errno> {
        let flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_REPORT_DFID_NAME
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK;
        // SAFETY: a plain system call on integers.
        let result = unsafe { libc::fanotify_init(flags, libc::O_RDONLY as u32) };
        let group = check(result.into())?;
        // SAFETY: the call gave us this new descriptor, which nothing else owns.
        Ok(Group(unsafe { OwnedFd::from_raw_fd(group as i32) }))
    }

    /// Marks a directory, which must be readable. ENOSPC above the user's limit of marks (`fs.fanotify.max_user_marks`).
    pub fn mark(&self, directory: impl AsFd) -> Result<(), Errno> {
        self.change(libc::FAN_MARK_ADD, directory)
    }

    /// Takes a mark back.
    pub fn unmark(&self, directory: impl AsFd) -> Result<(), Errno> {
        self.change(libc::FAN_MARK_REMOVE, directory)
    }

    fn change(&self, how: u32, directory: impl AsFd) -> Result<(), Errno> {
        // SAFETY: both descriptors are open and the path is an ended string, which the kernel only reads.
        let result = unsafe {
            libc::fanotify_mark(
                self.0.as_raw_fd(),
                how | libc::FAN_MARK_ONLYDIR,
                MASK,
                directory.as_fd().as_raw_fd(),
                c".".as_ptr(),
            )
        };
        check(result.into()).map(|_| ())
    }

    /// Takes events from the queue, as many as fit in `buffer`; how many bytes. AGAIN if there are none.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.0, buffer)
    }
}

/// The events that were read. What is not understood ends it, and counts as an overflow.
pub fn events(mut bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (event, rest) = event(bytes).unwrap_or((Event::Overflow, &[]));
        bytes = rest;
        Some(event)
    })
}

fn event(bytes: &[u8]) -> Option<(Event<'_>, &[u8])> {
    let len = u32_at(bytes, 0)? as usize;
    let version = *bytes.get(4)?;
    if len < METADATA || version != libc::FANOTIFY_METADATA_VERSION {
        return None;
    }
    let (event, rest) = bytes.split_at_checked(len)?;
    let mask = u64::from_ne_bytes(event.get(8..16)?.try_into().ok()?);
    if mask & libc::FAN_Q_OVERFLOW != 0 {
        return Some((Event::Overflow, rest));
    }
    let own = u32_at(event, 20)? == std::process::id();
    let (directory, name) = place(event.get(METADATA..)?)?;
    let event = Event::In {
        directory,
        name,
        listing: mask & LISTING != 0,
        left: mask & libc::FAN_MOVED_FROM != 0,
        own,
    };
    Some((event, rest))
}

/// The directory and the name in the records that follow an event.
fn place(mut records: &[u8]) -> Option<(Handle, &CStr)> {
    loop {
        let kind = *records.first()?;
        let len = usize::from(u16::from_ne_bytes(records.get(2..4)?.try_into().ok()?));
        let (record, rest) = records.split_at_checked(len.max(INFO))?;
        if kind == libc::FAN_EVENT_INFO_TYPE_DFID_NAME {
            let handle = record.get(INFO + FSID..)?;
            let bytes = u32_at(handle, 0)? as usize;
            let kind = u32_at(handle, 4)? as i32;
            let (id, name) = handle.get(HANDLE..)?.split_at_checked(bytes)?;
            return Some((
                Handle::new(kind, id),
                CStr::from_bytes_until_nul(name).ok()?,
            ));
        }
        records = rest;
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
