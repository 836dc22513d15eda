//! Pieces of guest memory as the arguments of vectored system calls.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use rustix::io::ReadWriteFlags;
use vm_memory::VolatileSlice;

use super::Memory;
use super::windows::{Mapping, View};

/// The most pieces that one vectored system call takes (`UIO_MAXIOV` in Linux); longer requests are served in part.
pub(super) const MAX_PIECES: usize = 1024;

/// `preadv2` and `pwritev2`.
type CallAt = unsafe extern "C" fn(
    libc::c_int,
    *const libc::iovec,
    libc::c_int,
    libc::off_t,
    libc::c_int,
) -> libc::ssize_t;

/// Pieces of guest memory that only the kernel reads and writes, on behalf of a system call.
///
/// RAM is borrowed from the [`Memory`] that keeps it mapped; windows are kept mapped by the value itself.
pub struct Data<'a> {
    pieces: Vec<libc::iovec>,
    /// Pieces at the front that are done with, at most [`MAX_PIECES`].
    first: u16,
    len: u64,
    /// Whether a piece was added that no call may fill.
    constant: bool,
    windows: Vec<Arc<dyn Mapping>>,
    memory: PhantomData<&'a Memory>,
}

impl Default for Data<'_> {
    /// No pieces yet.
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl<'a> Data<'a> {
    pub(super) fn with_capacity(pieces: usize) -> Self {
        Self {
            pieces: Vec::with_capacity(pieces.min(MAX_PIECES)),
            first: 0,
            len: 0,
            constant: false,
            windows: Vec::new(),
            memory: PhantomData,
        }
    }

    /// Adds a piece of RAM; `false` if one call takes no more pieces.
    pub(super) fn add_ram(&mut self, slice: &VolatileSlice<'a>) -> bool {
        self.add(slice.ptr_guard_mut().as_ptr(), slice.len())
    }

    /// Adds `len` bytes of a window from where `view` begins, at most its rest; `false` if one call takes no more pieces.
    pub(super) fn add_view(&mut self, view: View, len: u64) -> bool {
        debug_assert!(len <= view.rest);
        // In range: the view lies inside of the mapping.
        let addr = view.mapping.host_addr().wrapping_add(view.offset);
        let added = self.add(addr, len as usize);
        if !self
            .windows
            .iter()
            .any(|kept| Arc::ptr_eq(kept, &view.mapping))
        {
            self.windows.push(view.mapping);
        }
        added
    }

    /// Adds bytes of our own, which only calls that send or write accept; `false` if one call takes no more pieces.
    pub fn add_bytes(&mut self, bytes: &'a [u8]) -> bool {
        self.constant = true;
        self.add(bytes.as_ptr().cast_mut(), bytes.len())
    }

    /// Adds room of our own; `false` if one call takes no more pieces.
    pub fn add_buffer(&mut self, buffer: &'a mut [u8]) -> bool {
        self.add(buffer.as_mut_ptr(), buffer.len())
    }

    /// Adds all pieces of `other`, or none and `false` if one call does not take that many.
    pub fn append(&mut self, other: Data<'a>) -> bool {
        if self.pieces.len() + other.iovecs().len() > MAX_PIECES {
            return false;
        }
        self.pieces.extend_from_slice(other.iovecs());
        self.len += other.len;
        self.constant |= other.constant;
        self.windows.extend(other.windows);
        true
    }

    /// Refuses to fill what must not change.
    fn check_fillable(&self) -> io::Result<()> {
        if self.constant {
            Err(io::Error::from_raw_os_error(libc::EFAULT))
        } else {
            Ok(())
        }
    }

    fn add(&mut self, addr: *mut u8, len: usize) -> bool {
        if self.pieces.len() == MAX_PIECES {
            return false;
        }
        self.len += len as u64;
        self.pieces.push(libc::iovec {
            iov_base: addr.cast(),
            iov_len: len,
        });
        true
    }

    /// Bytes covered. Less than was asked for when the request has more pieces than one system call takes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte is covered.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pieces, for a system call that this type does not have. They are valid as long as `self`.
    pub fn iovecs(&self) -> &[libc::iovec] {
        &self.pieces[usize::from(self.first)..]
    }

    /// Leaves out the first `count` bytes, which a call has taken or filled.
    pub fn advance(&mut self, count: u64) {
        let mut left = count.min(self.len);
        self.len -= left;
        while left > 0 {
            let piece = &mut self.pieces[usize::from(self.first)];
            let size = piece.iov_len as u64;
            if left < size {
                piece.iov_base = piece.iov_base.wrapping_byte_add(left as usize);
                piece.iov_len -= left as usize;
                return;
            }
            left -= size;
            self.first += 1;
        }
    }

    /// Fills guest memory from `offset` of the file; returns the bytes stored, which may be fewer than [`len`], and 0 at
    /// the end of the file.
    ///
    /// Must come from [`Memory::data`] with `writable`.
    ///
    /// [`len`]: Self::len
    pub fn read_at(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> io::Result<usize> {
        self.check_fillable()?;
        self.call_at(libc::preadv2, file, offset, flags)
    }

    /// Writes guest memory to `offset` of the file; returns the bytes taken, which may be fewer than [`len`].
    ///
    /// [`len`]: Self::len
    pub fn write_at(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> io::Result<usize> {
        self.call_at(libc::pwritev2, file, offset, flags)
    }

    fn call_at(
        &self,
        call: CallAt,
        file: BorrowedFd<'_>,
        offset: u64,
        flags: ReadWriteFlags,
    ) -> io::Result<usize> {
        let pieces = self.iovecs();
        // SAFETY: `call` is preadv2 or pwritev2. The pieces outlive it and lie in mappings that the borrowed `Memory` and
        // `self.windows` keep; the kernel answers EFAULT for a page that it cannot touch, and Rust code never holds
        // references to guest memory.
        let count = unsafe {
            call(
                file.as_raw_fd(),
                pieces.as_ptr(),
                pieces.len() as libc::c_int,
                file_offset(offset)?,
                flags.bits() as libc::c_int,
            )
        };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Sends from guest memory to the socket without waiting; returns the bytes taken, which may be fewer than [`len`].
    ///
    /// [`len`]: Self::len
    pub fn send_to(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let message = self.message();
        // SAFETY: `message` points at `self.pieces`, which outlives the call; for the pieces, as in `call_at`.
        let sent = unsafe {
            libc::sendmsg(
                socket.as_raw_fd(),
                &message,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Receives from the socket into guest memory without waiting; returns the bytes stored, 0 at end of stream.
    ///
    /// Must come from [`Memory::data`] with `writable`.
    pub fn receive_from(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.check_fillable()?;
        let mut message = self.message();
        // SAFETY: as in `send_to`, with a kernel that writes.
        let received =
            unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, libc::MSG_DONTWAIT) };
        usize::try_from(received).map_err(|_| io::Error::last_os_error())
    }

    fn message(&mut self) -> libc::msghdr {
        let pieces = &mut self.pieces[usize::from(self.first)..];
        // SAFETY: all-zero is a valid `msghdr`: no name, no control data, no pieces.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = pieces.as_mut_ptr();
        message.msg_iovlen = pieces.len() as _;
        message
    }
}

fn file_offset(offset: u64) -> io::Result<libc::off_t> {
    offset
        .try_into()
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}
