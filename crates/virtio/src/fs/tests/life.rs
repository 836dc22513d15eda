//! Activation, pause, reset, saving.

use cenote_fuse::wire::Opcode;

use super::*;
use crate::device::DeviceState;
use crate::fs::FsState;
use crate::queue::RingPosition;

#[test]
fn a_paused_device_goes_on_where_it_was() {
    let mut running = Running::new();
    fs::write(running.driver.share.inside.join("f"), "").unwrap();
    running.driver.lookup("f").unwrap();
    let positions = running.device.pause();
    let [idle, served] = [0, 2].map(|count| {
        Some(RingPosition {
            next_avail: count,
            next_used: count,
        })
    });
    assert_eq!(positions, [idle, served]);
    assert!(running.device.pause().is_empty());
    assert_eq!(running.driver.server.directory().known().0, 2);

    // What the guest asks meanwhile waits.
    let driver = &mut running.driver;
    let message = driver.message(Opcode::Statfs, ROOT, &[], 0);
    let room = [Buffer::writable(driver.reply, 256)];
    let head = driver.offer(1, &message, &room);
    running.go_on(&positions);
    assert_eq!(running.driver.queues[1].wait_used().0, head);
}

#[test]
fn a_reset_forgets_what_the_client_knew() {
    let mut running = Running::new();
    running.driver.create("f");
    assert_eq!(running.driver.server.directory().known(), (2, 1, 0));
    running.device.pause();
    running.device.reset();
    assert_eq!(running.driver.server.directory().known(), (1, 0, 0));
}

#[test]
fn a_saved_device_is_restored() {
    let driver = FakeDriver::new(2);
    let state = Fs::new(driver.spec()).unwrap().save();
    let bytes = postcard::to_stdvec(&state).unwrap();
    let DeviceState::Fs(back) = postcard::from_bytes(&bytes).unwrap() else {
        panic!("{bytes:?}")
    };
    let expected = FsState {
        tag: "share".into(),
        queues: 2,
        waiting: vec![],
    };
    assert_eq!(back, expected);
    let restored = Fs::restore(back, driver.server.clone()).unwrap();
    assert_eq!(restored.save(), state);
}

impl Running {
    /// Lets a paused device go on.
    pub(super) fn go_on(&mut self, positions: &[Option<RingPosition>]) {
        let rings: Vec<_> = self
            .driver
            .queues
            .iter()
            .zip(positions)
            .map(|(driver, position)| position.map(|position| (driver, position)))
            .collect();
        let features = self.device.features();
        let activation = self.driver.guest.activation_at(features, &rings);
        self.device.activate(activation).unwrap();
    }
}
