//! A lock that is waited for holds no queue, and survives pauses.

use cenote_fuse::passthrough::{Config, Locks};
use cenote_fuse::testing::as_one_user;
use cenote_fuse::wire::{FileLock, LkIn};

use super::*;
use crate::device::DeviceState;
use crate::fs::fake_driver::HEADER;
use crate::testing::FakeGuest;

fn running() -> Running {
    let config = Config {
        locks: Locks::Host,
        ..as_one_user()
    };
    Running::with(FakeDriver::in_guest(FakeGuest::new(), 1, config))
}

fn lock(fh: u64, owner: u64, kind: i32) -> LkIn {
    LkIn {
        fh,
        owner,
        lk: FileLock {
            start: 0,
            end: 9,
            kind: kind as u32,
            pid: 1,
        },
        lk_flags: 0,
        padding: 0,
    }
}

impl Running {
    fn lock(&mut self, fh: u64, owner: u64, kind: i32) {
        let lock = lock(fh, owner, kind);
        self.driver
            .ask(Opcode::Setlk, ROOT, &[lock.as_bytes()])
            .unwrap();
    }

    /// Offers a request that waits for a lock, whose reply goes to where data are; its head and its number.
    fn wait_for_lock(&mut self, fh: u64, owner: u64) -> (u16, u64) {
        let driver = &mut self.driver;
        let lock = lock(fh, owner, libc::F_WRLCK);
        let message = driver.message(Opcode::Setlkw, ROOT, &[lock.as_bytes()], 0);
        let room = Buffer::writable(driver.data, 64);
        let head = driver.offer(1, &message, &[room]);
        // Its buffer is used for the next one, so it must have been read.
        let unique = driver.last();
        while self.waiting().is_empty() {
            std::thread::yield_now();
        }
        (head, unique)
    }

    fn waiting(&self) -> Vec<u64> {
        let DeviceState::Fs(state) = self.device.save() else {
            panic!("another device")
        };
        state.waiting.iter().map(|one| one.unique).collect()
    }

    /// The reply to a lock that was waited for: its number and error.
    fn late_reply(&self) -> (u64, i32) {
        let bytes = self.driver.guest.read(self.driver.data, HEADER as usize);
        let error = i32::from_ne_bytes(bytes[4..8].try_into().unwrap());
        (u64::from_ne_bytes(bytes[8..].try_into().unwrap()), error)
    }
}

#[test]
fn others_are_served_while_somebody_waits() {
    let mut running = running();
    let fh = running.driver.create("f");
    running.lock(fh, 1, libc::F_WRLCK);
    let (head, unique) = running.wait_for_lock(fh, 2);
    assert_eq!(running.waiting(), [unique]);
    running.driver.lookup("f").unwrap();

    let unlock = lock(fh, 1, libc::F_UNLCK);
    let message = running
        .driver
        .message(Opcode::Setlk, ROOT, &[unlock.as_bytes()], 0);
    let room = [Buffer::writable(running.driver.reply, 64)];
    let unlocked = running.driver.offer(1, &message, &room);
    let mut used = [0; 2].map(|_| running.driver.queues[1].wait_used());
    used.sort_by_key(|used| used.0 == unlocked);
    assert_eq!(used, [(head, HEADER), (unlocked, HEADER)]);
    assert_eq!(running.late_reply(), (unique, 0));
    assert!(running.waiting().is_empty());
}

#[test]
fn an_answer_that_comes_during_a_pause_waits() {
    let mut running = running();
    let fh = running.driver.create("f");
    running.lock(fh, 1, libc::F_WRLCK);
    let (head, unique) = running.wait_for_lock(fh, 2);
    let positions = running.device.pause();
    // The server gives up all locks when its client begins anew, and lets nobody wait any longer.
    running.driver.server.client_gone();
    assert_eq!(running.waiting(), [unique]);
    running.go_on(&positions);
    assert_eq!(running.driver.queues[1].wait_used(), (head, HEADER));
    assert_eq!(running.late_reply(), (unique, -libc::EINTR));
}

#[test]
fn a_restored_device_interrupts_those_who_waited() {
    let mut running = running();
    let fh = running.driver.create("f");
    running.lock(fh, 1, libc::F_WRLCK);
    let (head, unique) = running.wait_for_lock(fh, 2);
    let positions = running.device.pause();
    let DeviceState::Fs(state) = running.device.save() else {
        panic!("another device")
    };
    running.device = Fs::restore(state.clone(), running.driver.server.clone()).unwrap();
    assert_eq!(running.device.save(), DeviceState::Fs(state));
    running.go_on(&positions);
    assert_eq!(running.driver.queues[1].wait_used(), (head, HEADER));
    assert_eq!(running.late_reply(), (unique, -libc::EINTR));
}

#[test]
fn a_reset_leaves_nobody_waiting() {
    let mut running = running();
    let fh = running.driver.create("f");
    running.lock(fh, 1, libc::F_WRLCK);
    running.wait_for_lock(fh, 2);
    running.device.pause();
    running.device.reset();
    assert!(running.waiting().is_empty());
    assert_eq!(running.late_reply(), (0, 0));
}
