//! A window whose file became shorter.

use std::fs::File;
use std::sync::Arc;

use vm_memory::{FileOffset, MmapRegion};

use super::{FakeGuest, RAM_SIZE};
use crate::memory::Windows;

/// A mapped file of which one page is left: the page after it is a hole that only system calls may touch.
pub struct CutWindow(File);

impl CutWindow {
    /// Guest-physical address of the page that is left.
    pub const ADDR: u64 = 1 << 32;
    /// Bytes of a page.
    pub const PAGE: u64 = 4096;

    /// One, and the guest that has it.
    pub fn with_guest() -> (Self, FakeGuest) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(2 * Self::PAGE).expect("a file");
        let from = FileOffset::new(file.try_clone().expect("a file"), 0);
        let mapping = MmapRegion::from_file(from, 2 * Self::PAGE as usize).expect("a mapping");
        file.set_len(Self::PAGE).expect("a file");
        let windows = Arc::new(Windows::new());
        windows
            .add(Self::ADDR, Arc::new(mapping))
            .expect("a window");
        (Self(file), FakeGuest::with_windows(windows))
    }

    /// Where seeds of fuzzers put a buffer by this letter: in the window, beyond the file's end, across it, across the end of
    /// RAM, or nowhere.
    pub fn place(letter: u8) -> u64 {
        match letter.to_ascii_lowercase() {
            b'w' => Self::ADDR,
            b'b' => Self::ADDR + Self::PAGE,
            b'c' => Self::ADDR + Self::PAGE - 256,
            b'e' => RAM_SIZE - 256,
            other => u64::from(other) << 56,
        }
    }

    /// That nobody changed the file's length.
    ///
    /// # Panics
    ///
    /// If somebody did.
    pub fn check(&self) {
        assert_eq!(self.0.metadata().expect("a file").len(), Self::PAGE);
    }
}
