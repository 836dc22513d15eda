//! Requests that the kernel serves while the queue's thread goes on.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::{process, thread};

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{IoUring, opcode, squeue};
use rustix::io::Errno;

use crate::memory::Data;
use crate::queue::Chain;

/// Requests under way at once: as many as a queue of ours has entries.
pub const ENTRIES: usize = 256;

/// A request that the kernel has.
pub struct Flight<'m> {
    /// Where the answer goes.
    pub chain: Chain,
    /// Bytes of guest memory that are filled when it has succeeded.
    pub filled: u32,
    /// What is left of a read; `None` for a flush.
    pub read: Option<Read<'m>>,
}

/// A read, or what is left of it.
pub struct Read<'m> {
    /// Of the file, in bytes.
    pub offset: u64,
    /// Where the bytes go.
    pub data: Data<'m>,
}

/// A ring of the kernel, and the requests that are in it. Dropping it waits for them, since they write to guest memory.
pub struct Uring<'m> {
    ring: IoUring,
    flights: Vec<Option<Flight<'m>>>,
    free: Vec<usize>,
    unsubmitted: bool,
}

impl<'m> Uring<'m> {
    /// An empty ring.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            ring: IoUring::new(ENTRIES as u32)?,
            flights: (0..ENTRIES).map(|_| None).collect(),
            free: (0..ENTRIES).rev().collect(),
            unsubmitted: false,
        })
    }

    /// Becomes readable when a request has ended.
    pub fn bell(&self) -> BorrowedFd<'_> {
        // SAFETY: the ring owns the descriptor and keeps it open as long as `self` is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.ring.as_raw_fd()) }
    }

    /// Whether no more requests can be taken before some have ended.
    pub fn is_full(&self) -> bool {
        self.free.is_empty()
    }

    /// Whether no request is under way.
    pub fn is_idle(&self) -> bool {
        self.free.len() == ENTRIES
    }

    /// Takes a request on `file`; the kernel sees it at the next [`submit`](Self::submit). `Err` gives it back if the ring
    /// is full.
    pub fn take(&mut self, file: BorrowedFd<'_>, flight: Flight<'m>) -> Result<(), Flight<'m>> {
        let Some(slot) = self.free.pop() else {
            return Err(flight);
        };
        let fd = Fd(file.as_raw_fd());
        let entry = match &flight.read {
            Some(Read { offset, data }) => {
                let pieces = data.iovecs();
                opcode::Readv::new(fd, pieces.as_ptr(), pieces.len() as u32)
                    .offset(*offset)
                    .build()
            }
            None => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
        };
        self.flights[slot] = Some(flight);
        self.push(&entry.user_data(slot as u64));
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: what the entry points to lies on the heap and belongs to the flight, which stays in `self.flights` until
        // the kernel has answered, also when `self` is dropped; the guest memory that it names is kept mapped by the
        // `Data` in there, whose borrow of `Memory` is part of the type of `self`. The file outlives the ring's thread.
        let pushed = unsafe { self.ring.submission().push(entry) };
        // The submission queue has an entry for every flight.
        debug_assert!(pushed.is_ok());
        self.unsubmitted = true;
    }

    /// Hands what was taken to the kernel, in one system call.
    pub fn submit(&mut self) -> io::Result<()> {
        while self.unsubmitted {
            match self.ring.submit() {
                Ok(_) => self.unsubmitted = !self.ring.submission().is_empty(),
                Err(error) if is_passing(&error) => thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until a request has ended, if one is under way.
    pub fn wait(&mut self) -> io::Result<()> {
        if self.is_idle() {
            return Ok(());
        }
        loop {
            match self.ring.submit_and_wait(1) {
                Err(error) if is_passing(&error) => thread::yield_now(),
                Err(error) => return Err(error),
                Ok(_) => {
                    self.unsubmitted = false;
                    return Ok(());
                }
            }
        }
    }

    /// The next request that has ended, and what the call returned.
    pub fn ended(&mut self) -> Option<(Flight<'m>, io::Result<usize>)> {
        let entry = self.ring.completion().next()?;
        let slot = usize::try_from(entry.user_data()).ok()?;
        let flight = self.flights.get_mut(slot)?.take()?;
        self.free.push(slot);
        let result = entry.result();
        let result = usize::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result));
        Some((flight, result))
    }
}

/// Whether the same call will succeed later: it was interrupted, or the kernel is short of memory for it.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INTR | Errno::AGAIN | Errno::BUSY)
    )
}

impl Drop for Uring<'_> {
    fn drop(&mut self) {
        while !self.is_idle() {
            if let Err(error) = self.wait() {
                // The kernel may still write to guest memory, and there is no way to know when it has.
                tracing::error!(%error, "block: cannot wait for requests under way");
                process::abort();
            }
            while self.ended().is_some() {}
        }
    }
}
