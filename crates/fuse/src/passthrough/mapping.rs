//! SETUPMAPPING and REMOVEMAPPING: the client maps files instead of reading them.

use std::fmt::Debug;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::Passthrough;
use crate::wire::{RemovemappingOne, SetupmappingIn};

/// A window of the client's memory in which files of the host appear.
///
/// The window checks its own bounds. What it maps over is replaced.
pub trait MapWindow: Debug + Send + Sync {
    /// Maps `len` bytes of `file` from `offset` on to `at` in the window; all three in bytes.
    fn map(
        &self,
        file: BorrowedFd<'_>,
        offset: u64,
        at: u64,
        len: u64,
        writable: bool,
    ) -> Result<(), Errno>;

    /// Takes `len` bytes from `at` on out of the window.
    fn unmap(&self, at: u64, len: u64) -> Result<(), Errno>;

    /// Takes everything out of the window.
    fn clear(&self);
}

impl Passthrough {
    /// Whether there is a window.
    pub(crate) fn maps(&self) -> bool {
        self.window.is_some()
    }

    pub(crate) fn setupmapping(&self, node: u64, arguments: &SetupmappingIn) -> Result<(), Errno> {
        let window = self.window.as_deref().ok_or(Errno::NOSYS)?;
        let writable = arguments.flags & SetupmappingIn::WRITE != 0;
        let (node, place) = self.place(node)?;
        let flags = if writable {
            OFlags::RDWR
        } else {
            OFlags::RDONLY
        };
        let file = Self::open_again(&node, &place, flags)?;
        window.map(
            file.as_fd(),
            arguments.foffset,
            arguments.moffset,
            arguments.len,
            writable,
        )
    }

    pub(crate) fn removemapping(
        &self,
        ranges: impl Iterator<Item = RemovemappingOne>,
    ) -> Result<(), Errno> {
        let window = self.window.as_deref().ok_or(Errno::NOSYS)?;
        for range in ranges {
            window.unmap(range.moffset, range.len)?;
        }
        Ok(())
    }
}
