//! The guest's side of a block device: it makes requests and reads their answers.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use tempfile::TempDir;

pub use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD as DISCARD, VIRTIO_BLK_T_FLUSH as FLUSH, VIRTIO_BLK_T_GET_ID as GET_ID,
    VIRTIO_BLK_T_IN as IN, VIRTIO_BLK_T_OUT as OUT, VIRTIO_BLK_T_WRITE_ZEROES as WRITE_ZEROES,
};

use super::BlockSpec;
use crate::testing::{Buffer, Driver, FakeGuest};

pub const SECTOR: u64 = 512;
/// Sectors of the disk that [`FakeDriver::new`] makes.
pub const SECTORS: u64 = 256;
pub const OK: u8 = 0;
pub const IO_ERROR: u8 = 1;
pub const UNSUPPORTED: u8 = 2;
/// What a status is before the device writes it.
pub const NO_ANSWER: u8 = 0xee;

/// Requests that may be under way at once.
pub const SLOTS: u64 = 64;
const RING_SIZE: u16 = 256;

/// Where a request of the driver's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub head: u16,
    pub header: u64,
    pub status: u64,
}

/// A guest with one or more queues, and the file that its disk is.
pub struct FakeDriver {
    pub guest: FakeGuest,
    pub queues: Vec<Driver>,
    /// 1 MiB for data.
    pub page: u64,
    headers: u64,
    statuses: u64,
    next: u64,
    dir: TempDir,
}

/// What sector `sector` of a new disk is filled with.
pub fn pattern(sector: u64) -> u8 {
    (sector * 7 + 3) as u8
}

impl FakeDriver {
    pub fn new(queues: u16) -> Self {
        Self::in_guest(FakeGuest::new(), queues)
    }

    pub fn in_guest(mut guest: FakeGuest, queues: u16) -> Self {
        let dir = TempDir::new().expect("a directory");
        let bytes: Vec<u8> = (0..SECTORS)
            .flat_map(|sector| [pattern(sector); SECTOR as usize])
            .collect();
        std::fs::write(dir.path().join("disk"), bytes).expect("a file");
        Self {
            queues: (0..queues)
                .map(|index| guest.driver(index, RING_SIZE))
                .collect(),
            page: guest.allocate(1 << 20),
            headers: guest.allocate(16 * SLOTS),
            statuses: guest.allocate(SLOTS),
            next: 0,
            guest,
            dir,
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk")
    }

    pub fn file(&self) -> File {
        File::options()
            .read(true)
            .write(true)
            .open(self.path())
            .expect("the disk")
    }

    pub fn spec(&self) -> BlockSpec {
        BlockSpec {
            path: self.path(),
            read_only: false,
            ephemeral: false,
            queues: self.queues.len() as u16,
            id: "a disk".into(),
        }
    }

    /// Bytes of the file.
    pub fn on_disk(&self, sector: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file()
            .read_exact_at(&mut bytes, sector * SECTOR)
            .expect("so many bytes");
        bytes
    }

    /// Writes a header and clears a status, for a request that the test puts together itself.
    pub fn slot(&mut self, kind: u32, sector: u64) -> Slot {
        let slot = self.next % SLOTS;
        self.next += 1;
        let header = self.headers + 16 * slot;
        let status = self.statuses + slot;
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&kind.to_le_bytes());
        bytes[8..].copy_from_slice(&sector.to_le_bytes());
        self.guest.write(header, &bytes);
        self.guest.write(status, &[NO_ANSWER]);
        Slot {
            head: 0,
            header,
            status,
        }
    }

    /// Offers a request on queue 0 whose data is `data`, without ringing the doorbell.
    pub fn offer(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> Slot {
        self.offer_on(0, kind, sector, data)
    }

    pub fn offer_on(&mut self, queue: usize, kind: u32, sector: u64, data: &[Buffer]) -> Slot {
        let mut slot = self.slot(kind, sector);
        let mut buffers = vec![Buffer::readable(slot.header, 16)];
        buffers.extend(data);
        buffers.push(Buffer::writable(slot.status, 1));
        slot.head = self.queues[queue].offer(&buffers);
        slot
    }

    pub fn status(&self, slot: Slot) -> u8 {
        self.guest.read(slot.status, 1)[0]
    }

    /// Makes a request on queue 0 and waits for its answer: the status, and the bytes that the device says it wrote.
    pub fn ask(&mut self, kind: u32, sector: u64, data: &[Buffer]) -> (u8, u32) {
        let slot = self.offer(kind, sector, data);
        self.queues[0].notify();
        let (head, written) = self.queues[0].wait_used();
        assert_eq!(head, slot.head);
        (self.status(slot), written)
    }

    pub fn read(&mut self, sector: u64, len: u32) -> (u8, Vec<u8>) {
        let page = self.page;
        let (status, written) = self.ask(IN, sector, &[Buffer::writable(page, len)]);
        if status == OK {
            assert_eq!(written, len + 1);
        }
        (status, self.guest.read(page, len as usize))
    }

    pub fn write(&mut self, sector: u64, bytes: &[u8]) -> u8 {
        let page = self.page;
        self.guest.write(page, bytes);
        self.ask(OUT, sector, &[Buffer::readable(page, bytes.len() as u32)])
            .0
    }

    /// Discards or zeroes ranges, each a first sector, a number of sectors and flags.
    pub fn ranges(&mut self, kind: u32, ranges: &[(u64, u32, u32)]) -> u8 {
        let bytes: Vec<u8> = ranges
            .iter()
            .flat_map(|(sector, count, flags)| {
                [
                    sector.to_le_bytes(),
                    (u64::from(*flags) << 32 | u64::from(*count)).to_le_bytes(),
                ]
                .concat()
            })
            .collect();
        let page = self.page;
        self.guest.write(page, &bytes);
        self.ask(kind, 0, &[Buffer::readable(page, bytes.len() as u32)])
            .0
    }
}
