//! Activation, pause, reset, saving.

use super::*;
use crate::block::{BlockError, BlockState, MAX_QUEUES};
use crate::device::DeviceState;
use crate::queue::RingPosition;

#[test]
fn a_paused_device_goes_on_where_it_was() {
    let mut running = Running::new();
    assert_eq!(running.driver.write(0, &[1; 512]), OK);
    let positions = running.device.pause();
    let position = RingPosition {
        next_avail: 1,
        next_used: 1,
    };
    assert_eq!(positions, [Some(position)]);
    assert!(running.device.pause().is_empty());

    // What the guest asks meanwhile waits.
    let page = running.driver.page;
    let slot = running.driver.offer(IN, 0, &[Buffer::writable(page, 512)]);
    let features = running.device.features();
    let rings = [Some((&running.driver.queues[0], position))];
    let activation = running.driver.guest.activation_at(features, &rings);
    running.device.activate(activation).unwrap();
    assert_eq!(running.driver.queues[0].wait_used(), (slot.head, 513));
    assert_eq!(running.driver.guest.read(page, 512), [1; 512]);
}

#[test]
fn a_pause_waits_for_what_was_taken() {
    let mut running = Running::new();
    for round in 0..20 {
        let slots: Vec<_> = (0..8)
            .map(|_| running.driver.offer(FLUSH, 0, &[]))
            .collect();
        running.driver.queues[0].notify();
        let [Some(position)] = running.device.pause()[..] else {
            panic!("round {round}: the ring is broken")
        };
        // Some or all were taken; those are answered.
        assert_eq!(position.next_avail, position.next_used);
        let taken = position.next_used.wrapping_sub(8 * round);
        for (i, slot) in (0..).zip(&slots) {
            let answered = running.driver.status(*slot) == OK;
            assert_eq!(answered, i < taken, "round {round}, request {i}");
        }
        let features = running.device.features();
        let rings = [Some((&running.driver.queues[0], position))];
        let activation = running.driver.guest.activation_at(features, &rings);
        running.device.activate(activation).unwrap();
        for _ in &slots {
            running.driver.queues[0].wait_used();
        }
    }
}

#[test]
fn without_flushes_and_with_an_ephemeral_disk_requests_are_served_as_well() {
    let driver = FakeDriver::new(1);
    let mut device = Block::new(&driver.spec()).unwrap();
    let rings = [Some(&driver.queues[0])];
    device
        .activate(driver.guest.activation(feature::RING, &rings))
        .unwrap();
    let mut running = Running { device, driver };
    assert_eq!(running.driver.write(1, &[9; 512]), OK);
    assert_eq!(running.driver.ranges(WRITE_ZEROES, &[(2, 1, 0)]), OK);
    assert_eq!(running.driver.on_disk(1, 512), [9; 512]);

    let mut running = Running::with(FakeDriver::new(1), |spec| spec.ephemeral = true);
    assert_eq!(running.driver.write(1, &[9; 512]), OK);
    assert_eq!(running.driver.ask(FLUSH, 0, &[]), (OK, 1));
    assert_eq!(running.driver.on_disk(1, 512), [9; 512]);
}

#[test]
fn a_saved_device_is_restored_on_the_same_bytes() {
    let driver = FakeDriver::new(2);
    let mut spec = driver.spec();
    spec.ephemeral = true;
    let state = Block::new(&spec).unwrap().save();
    let bytes = postcard::to_stdvec(&state).unwrap();
    let DeviceState::Block(back) = postcard::from_bytes(&bytes).unwrap() else {
        panic!("{bytes:?}")
    };
    let expected = BlockState {
        sectors: SECTORS,
        read_only: false,
        ephemeral: true,
        queues: 2,
        id: "a disk".into(),
    };
    assert_eq!(back, expected);
    let restored = Block::restore(&back, driver.path()).unwrap();
    assert_eq!(restored.save(), state);

    driver.file().set_len(SECTOR * 10).unwrap();
    let error = Block::restore(&back, driver.path()).err().unwrap();
    assert!(
        matches!(
            error,
            BlockError::SizeChanged {
                found: 10,
                saved: SECTORS,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_disk_that_cannot_be_one_is_refused() {
    let driver = FakeDriver::new(1);
    let refuse = |change: &dyn Fn(&mut BlockSpec)| {
        let mut spec = driver.spec();
        change(&mut spec);
        Block::new(&spec).err().unwrap()
    };
    let error = refuse(&|spec| spec.id = "a name of 21 letters.".into());
    assert!(matches!(error, BlockError::IdTooLong { .. }), "{error}");
    let error = refuse(&|spec| spec.path = "/nowhere/at/all".into());
    assert!(matches!(error, BlockError::Open { .. }), "{error}");
    let error = refuse(&|spec| {
        spec.path = "/tmp".into();
        spec.read_only = true;
    });
    assert!(matches!(error, BlockError::Kind { .. }), "{error}");
    driver.file().set_len(511).unwrap();
    let error = refuse(&|_| {});
    assert!(
        matches!(error, BlockError::Empty { len: 511, .. }),
        "{error}"
    );
}

#[test]
fn the_number_of_queues_is_bounded() {
    let driver = FakeDriver::new(1);
    for (asked, given) in [(0, 1), (1, 1), (MAX_QUEUES, MAX_QUEUES), (999, MAX_QUEUES)] {
        let spec = BlockSpec {
            queues: asked,
            ..driver.spec()
        };
        let device = Block::new(&spec).unwrap();
        assert_eq!(device.queue_sizes().len(), usize::from(given));
    }
}

#[test]
fn a_file_that_became_shorter_gives_errors() {
    let mut running = Running::new();
    running.driver.file().set_len(SECTOR * 10 + 100).unwrap();
    assert_eq!(running.driver.read(9, 512).0, OK);
    assert_eq!(running.driver.read(10, 512).0, IO_ERROR);
    assert_eq!(running.driver.read(200, 4096).0, IO_ERROR);
}
