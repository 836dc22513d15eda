//! A window onto a file, as a guest has one onto its image.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use vm_memory::{FileOffset, MmapRegion};

use super::FakeGuest;
use crate::memory::Windows;

/// Two pages of a file, of bytes 0x5a, in a window.
pub struct ImageWindow;

impl ImageWindow {
    /// Guest-physical address of the first page.
    pub const ADDR: u64 = 1 << 32;
    /// Bytes of a page.
    pub const PAGE: u64 = 4096;

    /// The file, and a guest that has it mapped with the protection `prot`.
    pub fn with_guest(prot: i32) -> (File, FakeGuest) {
        let size = 2 * Self::PAGE as usize;
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(&vec![0x5a; size], 0).expect("a file");
        let from = FileOffset::new(file.try_clone().expect("a file"), 0);
        let mapping = MmapRegion::build(Some(from), size, prot, libc::MAP_SHARED);
        let windows = Arc::new(Windows::new());
        windows
            .add(Self::ADDR, Arc::new(mapping.expect("a mapping")))
            .expect("a window");
        (file, FakeGuest::with_windows(windows))
    }
}
