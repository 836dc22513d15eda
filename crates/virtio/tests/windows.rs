//! A guest puts what belongs into RAM into a window onto a file, or beyond that file's end: it is refused, the file stays
//! as it was, and the device serves the next request.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use cenote_virtio::memory::Windows;
use cenote_virtio::queue::{ChainError, Ring, RingError, RingLayout, RingPosition};
use cenote_virtio::testing::{Bells, Buffer, Driver, FakeGuest, INDIRECT, RAM_SIZE};
use vm_memory::{FileOffset, MmapRegion};

const PAGE: u64 = 4096;
/// Where the window begins, as far from the RAM as a pmem device is.
const WINDOW: u64 = 1 << 32;
const PAGES: u64 = 4;
/// The part of the window that its file does not reach.
const BEYOND: u64 = WINDOW + 2 * PAGE;
const START: RingPosition = RingPosition {
    next_avail: 0,
    next_used: 0,
};

/// A guest with a writable window onto an image that is too short for it.
struct Scene {
    guest: FakeGuest,
    driver: Driver,
    image: File,
}

impl Scene {
    fn new() -> Self {
        let image = tempfile::tempfile().unwrap();
        image.set_len(PAGES * PAGE).unwrap();
        let from = FileOffset::new(image.try_clone().unwrap(), 0);
        let window = MmapRegion::from_file(from, (PAGES * PAGE) as usize).unwrap();
        image.set_len(2 * PAGE).unwrap();
        let windows = Arc::new(Windows::new());
        windows.add(WINDOW, Arc::new(window)).unwrap();
        let mut guest = FakeGuest::with_windows(windows);
        let driver = guest.driver(0, 8);
        Self {
            guest,
            driver,
            image,
        }
    }

    fn assert_image_untouched(&mut self) {
        let mut bytes = Vec::new();
        self.image.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, [0; 2 * PAGE as usize]);
    }
}

#[test]
fn a_ring_in_a_window_is_refused() {
    let mut scene = Scene::new();
    let good = scene.driver.layout;
    for at in [WINDOW, BEYOND] {
        for layout in [
            RingLayout {
                desc_table: at,
                ..good
            },
            RingLayout {
                avail_ring: at,
                ..good
            },
            RingLayout {
                used_ring: at,
                ..good
            },
        ] {
            let line = Arc::new(Bells::default());
            let (memory, bell) = (scene.guest.memory(), scene.driver.doorbell());
            let error = Ring::new(0, layout, START, true, memory, bell, line).err();
            assert!(
                matches!(
                    error,
                    Some(RingError::SetUp {
                        reason: "it is not inside of RAM",
                        ..
                    })
                ),
                "{error:?}"
            );
        }
    }
    scene.assert_image_untouched();
}

#[test]
fn an_indirect_table_in_a_window_is_refused() {
    let mut scene = Scene::new();
    let mut ring = scene.driver.ring();
    for addr in [WINDOW, BEYOND, RAM_SIZE - 8] {
        scene.driver.describe(0, addr, 16, INDIRECT, 0);
        scene.driver.publish(0);
        let refused = ring.pop().unwrap().unwrap();
        assert_eq!(refused.unwrap_err(), ChainError::Table { addr });
        assert_eq!(scene.driver.used(), Some((0, 0)));
    }
    scene.driver.offer(&[Buffer::writable(PAGE, 1)]);
    assert!(ring.pop().unwrap().unwrap().is_ok());
    scene.assert_image_untouched();
}
