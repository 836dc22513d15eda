//! A driver whose every request a fuzzer writes. What it writes is letters, so that seeds are text: a request is
//! its kind, its sector, and the buffers of its chain up to a full stop, each a place and a length; a capital letter is a
//! buffer for the device to write. `i1hhDsS1.` reads sector 1. `=` writes a range (sector, count, flags) to where `d` is.

use std::sync::Arc;

use tempfile::NamedTempFile;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES,
};

use super::BlockSpec;
use super::disk::{Disk, SECTOR};
use super::worker::{Service, Shared};
use crate::queue_thread::Waiter;
use crate::testing::{Buffer, Choices, CutWindow, Driver, FakeGuest};

const SECTORS: u64 = 64;
const PAGE: u64 = 4096;
/// Most requests of one play, and most buffers of a request, so that the fake driver's descriptors suffice.
const MAX_REQUESTS: usize = 64;
const MAX_BUFFERS: usize = 8;

/// Plays `data`, and checks after every request that it came back and that the files kept their lengths.
///
/// # Panics
///
/// If they did not: that is a defect of the device.
pub fn requests(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut host = Host::new();
    let read_only = bytes.next() == Some(b'r');
    let shared = Shared {
        disk: Arc::new(host.disk(read_only)),
        write_through: false,
    };
    let memory = host.guest.memory();
    let waiter = Waiter::idle();
    let mut service = Service::new(host.driver.ring(), &shared, &memory, &waiter);
    for _ in 0..MAX_REQUESTS {
        let Some(kind) = bytes.next() else { break };
        let head = host.offer(kind, &mut bytes);
        while service.round().expect("a sound ring") {}
        service.finish_all().expect("a sound ring");
        let (used, _) = host.driver.used().expect("an answer");
        assert_eq!(used, head);
        host.check();
    }
}

/// The guest, and the files that it can reach.
struct Host {
    guest: FakeGuest,
    driver: Driver,
    page: u64,
    window: CutWindow,
    file: NamedTempFile,
}

impl Host {
    fn new() -> Self {
        let file = NamedTempFile::new().expect("a file");
        file.as_file().set_len(SECTORS * SECTOR).expect("a file");
        let (window, mut guest) = CutWindow::with_guest();
        Self {
            driver: guest.driver(0, 16),
            page: guest.allocate(1 << 16),
            guest,
            window,
            file,
        }
    }

    fn disk(&self, read_only: bool) -> Disk {
        Disk::open(&BlockSpec {
            path: self.file.path().into(),
            read_only,
            ephemeral: true,
            queues: 1,
            id: "fuzz".into(),
        })
        .expect("a disk")
    }

    fn offer(&mut self, kind: u8, bytes: &mut Choices<'_>) -> u16 {
        let kind = match kind {
            b'i' => VIRTIO_BLK_T_IN,
            b'o' => VIRTIO_BLK_T_OUT,
            b'f' => VIRTIO_BLK_T_FLUSH,
            b'g' => VIRTIO_BLK_T_GET_ID,
            b'd' => VIRTIO_BLK_T_DISCARD,
            b'z' => VIRTIO_BLK_T_WRITE_ZEROES,
            other => other.into(),
        };
        let sector = number(bytes.u8());
        self.guest.write(
            self.page,
            &[&u64::from(kind).to_le_bytes()[..], &sector.to_le_bytes()].concat(),
        );
        let mut buffers = Vec::new();
        while buffers.len() < MAX_BUFFERS {
            let place = bytes.u8();
            if matches!(place, b'.' | 0) {
                break;
            }
            if place == b'=' {
                let range = [
                    number(bytes.u8()),
                    number(bytes.u8()) | number(bytes.u8()) << 32,
                ];
                self.guest
                    .write(self.page + PAGE, &range.map(u64::to_le_bytes).concat());
                continue;
            }
            let addr = match place.to_ascii_lowercase() {
                b'h' => self.page,
                b'd' => self.page + PAGE,
                b's' => self.page + 2 * PAGE,
                _ => CutWindow::place(place),
            };
            let len = length(bytes.u8());
            buffers.push(Buffer::by_case(place, addr, len));
        }
        if buffers.is_empty() {
            buffers.push(Buffer::readable(self.page, 16));
        }
        let head = self.driver.offer(&buffers);
        self.driver.notify();
        head
    }

    fn check(&self) {
        let len = self.file.as_file().metadata().expect("a file").len();
        assert_eq!(len, SECTORS * SECTOR);
        self.window.check();
    }
}

/// Digits are small numbers, the others some around the limits.
fn number(choice: u8) -> u64 {
    match choice {
        b'0'..=b'9' => (choice - b'0').into(),
        b'l' => SECTORS - 1,
        b'm' => SECTORS,
        b'x' => u64::MAX,
        b'y' => u64::MAX / SECTOR,
        other => u64::from(other) << (other & 31),
    }
}

fn length(choice: u8) -> u32 {
    match choice {
        b'0'..=b'9' => (choice - b'0').into(),
        b'h' => 16,
        b's' => 512,
        b't' => 513,
        b'k' => 1024,
        b'p' => 4096,
        b'x' => u32::MAX,
        other => u32::from(other) * 97,
    }
}
