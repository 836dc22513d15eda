//! A fake guest for tests of devices: RAM that the test reads and writes, and a driver that fills rings, so that a test
//! reads as a dialogue:
//!
//! ```
//! use cenote_virtio::testing::{Buffer, FakeGuest};
//!
//! let mut guest = FakeGuest::new();
//! let mut driver = guest.driver(0, 8);
//! let mut ring = driver.ring();                               // the device's end
//! let page = guest.allocate(4096);
//! driver.offer(&[Buffer::writable(page, 64)]);                // offer a buffer ...
//! let chain = ring.pop().unwrap().unwrap().unwrap();          // ... which the device takes ...
//! ring.memory().copy_in(chain.writable(), 0, b"hi").unwrap();
//! ring.push(chain, 2).unwrap();                               // ... fills and gives back
//! assert_eq!(driver.used(), Some((0, 2)));
//! assert_eq!(guest.read(page, 2), b"hi");
//! ```
//!
//! It can also lie: [`Driver::describe`] writes any descriptor, [`Driver::publish`] offers any head, and the memory is
//! open for writing.

mod choices;
mod cut_window;
mod image_window;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};

pub use choices::Choices;
pub use cut_window::CutWindow;
pub use image_window::ImageWindow;

use crate::device::{Activation, Interrupt};
use crate::memory::{Memory, Windows};
use crate::queue::{Ring, RingLayout, RingPosition};

/// RAM of a fake guest in bytes, at guest-physical address 0.
pub const RAM_SIZE: u64 = 64 << 20;

/// Descriptor flag: the chain goes on.
pub const NEXT: u16 = VRING_DESC_F_NEXT as u16;
/// Descriptor flag: for the device to write.
pub const WRITE: u16 = VRING_DESC_F_WRITE as u16;
/// Descriptor flag: the buffer is a table of descriptors.
pub const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;

/// How long a test waits for an interrupt before it fails. Not a measure of anything.
const PATIENCE: Timespec = Timespec {
    tv_sec: 60,
    tv_nsec: 0,
};

/// A guest without a processor.
pub struct FakeGuest {
    memory: Memory,
    file: File,
    next: u64,
}

impl Default for FakeGuest {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeGuest {
    /// A guest whose RAM is a memory file, as a VMM shares it with a vhost-user back-end.
    pub fn new() -> Self {
        Self::with_windows(Arc::default())
    }

    /// The same, with windows beside the RAM.
    pub fn with_windows(windows: Arc<Windows>) -> Self {
        let file = File::from(memfd_create("ram", MemfdFlags::CLOEXEC).expect("a memfd"));
        ftruncate(&file, RAM_SIZE).expect("RAM");
        let range = (
            GuestAddress(0),
            RAM_SIZE as usize,
            Some(FileOffset::new(file.try_clone().expect("a file"), 0)),
        );
        let ram = GuestMemoryMmap::from_ranges_with_files([range]).expect("a mapping");
        // Address 0 stays free, because rings may not be there.
        Self {
            memory: Memory::with_windows(Arc::new(ram), windows),
            file,
            next: 4096,
        }
    }

    /// The guest's memory, as a device gets it.
    pub fn memory(&self) -> Memory {
        self.memory.clone()
    }

    /// The file behind the RAM.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Guest-physical address of `len` bytes that nobody else uses, at the start of a page.
    pub fn allocate(&mut self, len: u64) -> u64 {
        let addr = self.next;
        self.next += len.next_multiple_of(4096);
        assert!(self.next <= RAM_SIZE, "the fake guest is out of memory");
        addr
    }

    /// Writes `bytes` at `addr`.
    pub fn write(&self, addr: u64, bytes: &[u8]) {
        self.memory
            .ram()
            .write_slice(bytes, GuestAddress(addr))
            .expect("RAM at this address");
    }

    /// Reads `len` bytes at `addr`.
    pub fn read(&self, addr: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory
            .ram()
            .read_slice(&mut bytes, GuestAddress(addr))
            .expect("RAM at this address");
        bytes
    }

    /// What a device is activated with whose driver has set up `drivers`, from the beginning of their rings.
    pub fn activation(&self, features: u64, drivers: &[Option<&Driver>]) -> Activation {
        let start = RingPosition {
            next_avail: 0,
            next_used: 0,
        };
        let rings = drivers
            .iter()
            .map(|driver| driver.map(|driver| (driver, start)))
            .collect::<Vec<_>>();
        self.activation_at(features, &rings)
    }

    /// The same for rings that were served before, up to the positions given.
    pub fn activation_at(
        &self,
        features: u64,
        drivers: &[Option<(&Driver, RingPosition)>],
    ) -> Activation {
        Activation {
            memory: self.memory(),
            features,
            rings: drivers
                .iter()
                .map(|driver| driver.map(|(driver, position)| driver.ring_at(position)))
                .collect(),
            interrupt: Arc::new(Bells::default()),
        }
    }

    /// The driver's end of a ring with `size` entries, in memory of its own.
    pub fn driver(&mut self, index: u16, size: u16) -> Driver {
        let layout = RingLayout {
            size,
            desc_table: self.allocate(16 * u64::from(size)),
            avail_ring: self.allocate(6 + 2 * u64::from(size)),
            used_ring: self.allocate(6 + 8 * u64::from(size)),
        };
        Driver {
            index,
            memory: self.memory.clone(),
            layout,
            doorbell: bell(),
            interrupt: Arc::new(Bells::default()),
            next_descriptor: 0,
            next_avail: 0,
            next_used: 0,
        }
    }
}

fn bell() -> OwnedFd {
    eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC).expect("an eventfd")
}

/// The interrupt line of one fake driver: an eventfd, as a transport would use.
pub struct Bells(OwnedFd);

impl Default for Bells {
    fn default() -> Self {
        Self(bell())
    }
}

impl Interrupt for Bells {
    fn used_buffers(&self, _index: u16) -> io::Result<()> {
        rustix::io::write(&self.0, &1u64.to_ne_bytes())?;
        Ok(())
    }

    fn config_changed(&self, _config: &[u8]) -> io::Result<()> {
        self.used_buffers(0)
    }
}

/// A buffer that a driver offers.
#[derive(Clone, Copy, Debug)]
pub struct Buffer {
    addr: u64,
    len: u32,
    flags: u16,
}

impl Buffer {
    /// For the device to read.
    pub fn readable(addr: u64, len: u32) -> Self {
        Self {
            addr,
            len,
            flags: 0,
        }
    }

    /// For the device to fill.
    pub fn writable(addr: u64, len: u32) -> Self {
        Self {
            addr,
            len,
            flags: WRITE,
        }
    }

    /// For the device to fill if the letter is a capital one, as seeds of fuzzers write buffers.
    pub fn by_case(letter: u8, addr: u64, len: u32) -> Self {
        if letter.is_ascii_uppercase() {
            Self::writable(addr, len)
        } else {
            Self::readable(addr, len)
        }
    }
}

/// The driver's end of one ring. It uses its descriptors in turns and trusts the test not to offer more than there are.
pub struct Driver {
    index: u16,
    memory: Memory,
    /// Where the ring is.
    pub layout: RingLayout,
    doorbell: OwnedFd,
    interrupt: Arc<Bells>,
    next_descriptor: u16,
    next_avail: u16,
    next_used: u16,
}

impl Driver {
    /// The device's end, at its beginning, with event suppression by index.
    pub fn ring(&self) -> Ring {
        self.ring_at(RingPosition {
            next_avail: 0,
            next_used: 0,
        })
    }

    /// The device's end, served up to `position`.
    pub fn ring_at(&self, position: RingPosition) -> Ring {
        self.ring_with(position, true)
    }

    /// The device's end of a driver that wants an interrupt for whatever comes back, at its beginning.
    pub fn ring_without_event_idx(&self) -> Ring {
        let start = RingPosition {
            next_avail: 0,
            next_used: 0,
        };
        self.ring_with(start, false)
    }

    fn ring_with(&self, position: RingPosition, event_idx: bool) -> Ring {
        let (doorbell, interrupt) = (self.doorbell(), self.interrupt.clone());
        Ring::new(
            self.index,
            self.layout,
            position,
            event_idx,
            self.memory.clone(),
            doorbell,
            interrupt,
        )
        .expect("an honest ring")
    }

    /// A copy of the doorbell's descriptor.
    pub fn doorbell(&self) -> OwnedFd {
        self.doorbell.try_clone().expect("a descriptor")
    }

    /// The doorbell's descriptor.
    pub fn doorbell_fd(&self) -> BorrowedFd<'_> {
        self.doorbell.as_fd()
    }

    /// A copy of the interrupt's descriptor.
    pub fn interrupt(&self) -> OwnedFd {
        self.interrupt.0.try_clone().expect("a descriptor")
    }

    /// Writes descriptor `index` as it is given.
    pub fn describe(&self, index: u16, addr: u64, len: u32, flags: u16, next: u16) {
        self.write_descriptor(
            self.layout.desc_table + 16 * u64::from(index),
            addr,
            len,
            flags,
            next,
        );
    }

    /// Writes a descriptor at the guest-physical address `at`, for indirect tables.
    pub fn write_descriptor(&self, at: u64, addr: u64, len: u32, flags: u16, next: u16) {
        let mut descriptor = [0; 16];
        descriptor[..8].copy_from_slice(&addr.to_le_bytes());
        descriptor[8..12].copy_from_slice(&len.to_le_bytes());
        descriptor[12..14].copy_from_slice(&flags.to_le_bytes());
        descriptor[14..].copy_from_slice(&next.to_le_bytes());
        self.memory
            .ram()
            .write_slice(&descriptor, GuestAddress(at))
            .expect("RAM at this address");
    }

    /// Offers the chain that starts at `head`, whatever is there, without ringing the doorbell.
    pub fn publish(&mut self, head: u16) {
        let slot = self.layout.avail_ring + 4 + 2 * u64::from(self.next_avail % self.layout.size);
        self.memory
            .ram()
            .write_obj(head.to_le(), GuestAddress(slot))
            .expect("RAM for the ring");
        self.set_available(self.next_avail.wrapping_add(1));
    }

    /// Forgets all descriptors and indices, as a driver does that resets the device. What is in memory stays.
    pub fn start_anew(&mut self) {
        (self.next_descriptor, self.next_avail, self.next_used) = (0, 0, 0);
    }

    /// How many chains were offered so far, modulo 2^16.
    pub fn offered(&self) -> u16 {
        self.next_avail
    }

    /// Sets the index of the available ring.
    pub fn set_available(&mut self, index: u16) {
        self.next_avail = index;
        let addr = GuestAddress(self.layout.avail_ring + 2);
        self.memory
            .ram()
            .store(index.to_le(), addr, Ordering::Release)
            .expect("RAM for the ring");
    }

    /// Offers `buffers` as one chain, without ringing the doorbell. Returns its head.
    pub fn offer(&mut self, buffers: &[Buffer]) -> u16 {
        let size = self.layout.size;
        let head = self.next_descriptor;
        for (i, buffer) in buffers.iter().enumerate() {
            let index = self.next_descriptor;
            self.next_descriptor = (index + 1) % size;
            let more = if i + 1 < buffers.len() { NEXT } else { 0 };
            self.describe(
                index,
                buffer.addr,
                buffer.len,
                buffer.flags | more,
                self.next_descriptor,
            );
        }
        self.publish(head);
        head
    }

    /// Rings the doorbell.
    pub fn notify(&self) {
        rustix::io::write(&self.doorbell, &1u64.to_ne_bytes()).expect("a doorbell");
    }

    /// The next chain that the device gave back: its head and the bytes written.
    pub fn used(&mut self) -> Option<(u16, u32)> {
        let ram = self.memory.ram();
        let index: u16 = ram
            .load(GuestAddress(self.layout.used_ring + 2), Ordering::Acquire)
            .expect("RAM for the ring");
        if u16::from_le(index) == self.next_used {
            return None;
        }
        let slot = self.layout.used_ring + 4 + 8 * u64::from(self.next_used % self.layout.size);
        let [id, len]: [u32; 2] = ram.read_obj(GuestAddress(slot)).expect("RAM for the ring");
        self.next_used = self.next_used.wrapping_add(1);
        // Asks for an interrupt at the next one (used_event).
        let event = self.layout.avail_ring + 4 + 2 * u64::from(self.layout.size);
        ram.store(
            self.next_used.to_le(),
            GuestAddress(event),
            Ordering::SeqCst,
        )
        .expect("RAM for the ring");
        Some((u32::from_le(id) as u16, u32::from_le(len)))
    }

    /// Like [`used`](Self::used), but waits for the interrupt.
    pub fn wait_used(&mut self) -> (u16, u32) {
        loop {
            if let Some(used) = self.used() {
                return used;
            }
            // A used chain that came before `used_event` was moved interrupts no more: the look above finds it.
            let mut fds = [PollFd::new(&self.interrupt.0, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&PATIENCE)).expect("poll");
            assert!(ready > 0, "ring {}: no interrupt came", self.index);
            // Another reader may have been faster; the ring is looked at in any case.
            let _ = rustix::io::read(&self.interrupt.0, &mut [0; 8]);
        }
    }
}
