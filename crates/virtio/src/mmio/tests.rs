use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::event::{EventfdFlags, eventfd};

use super::{RegisterPages, Registers, Transport, offset, status};
use crate::device::{ActivateError, Activation, Device, DeviceState, Interrupt, feature};
use crate::pmem::PmemState;
use crate::queue::{Ring, RingPosition};
use crate::testing::{Buffer, Driver, FakeGuest};

const FEATURES: u64 = feature::RING | 1 << 40;
const STATE: PmemState = PmemState { start: 0, size: 1 };

/// What happened to the device, and what it was given.
#[derive(Default)]
struct Seen {
    rings: Option<Vec<Option<Ring>>>,
    features: u64,
    resets: usize,
    config: Vec<u8>,
}

/// A device that only remembers.
struct Witness(Arc<Mutex<Seen>>);

impl Device for Witness {
    fn name(&self) -> &'static str {
        "witness"
    }
    fn device_type(&self) -> u32 {
        27
    }
    fn features(&self) -> u64 {
        FEATURES
    }
    fn queue_sizes(&self) -> &[u16] {
        &[8, 16]
    }
    fn read_config(&self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let config = &self.0.lock().unwrap().config;
        let rest = config.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(data.len());
        data[..len].copy_from_slice(&rest[..len]);
    }
    fn write_config(&mut self, _offset: u64, data: &[u8]) {
        self.0.lock().unwrap().config = data.to_vec();
    }
    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        let mut seen = self.0.lock().unwrap();
        seen.features = activation.features;
        seen.rings = Some(activation.rings);
        Ok(())
    }
    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        let rings = self.0.lock().unwrap().rings.take().unwrap_or_default();
        rings
            .iter()
            .map(|ring| ring.as_ref().map(Ring::position))
            .collect()
    }
    fn reset(&mut self) {
        self.0.lock().unwrap().resets += 1;
    }
    fn save(&self) -> DeviceState {
        DeviceState::Pmem(STATE)
    }
}

/// The machine around one transport.
struct Bench {
    guest: FakeGuest,
    transport: Transport,
    page: Registers,
    seen: Arc<Mutex<Seen>>,
    interrupt: OwnedFd,
}

fn bench() -> Bench {
    bench_in(FakeGuest::new())
}

fn bench_in(guest: FakeGuest) -> Bench {
    let seen = Arc::<Mutex<Seen>>::default();
    seen.lock().unwrap().config = b"abcdef".to_vec();
    let page = RegisterPages::new(1).unwrap().page(0);
    let interrupt = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
    let transport = Transport::new(
        Box::new(Witness(Arc::clone(&seen))),
        page.clone(),
        guest.memory(),
        interrupt.try_clone().unwrap(),
    )
    .unwrap();
    Bench {
        guest,
        transport,
        page,
        seen,
        interrupt,
    }
}

impl Bench {
    fn write(&mut self, register: u32, value: u32) {
        self.transport.write(register, &value.to_le_bytes());
    }

    /// Accepts these features, as drivers do; returns the status that they then read.
    fn negotiate(&mut self, features: u64) -> u32 {
        self.write(offset::STATUS, 1 | 2);
        for (word, shift) in [(0, 0), (1, 32)] {
            self.write(offset::DRIVER_FEATURES_SEL, word);
            self.write(offset::DRIVER_FEATURES, (features >> shift) as u32);
        }
        self.write(offset::STATUS, 1 | 2 | status::FEATURES_OK);
        self.page.get(offset::STATUS)
    }

    fn set_up(&mut self, index: u32, size: u32, driver: &Driver) {
        self.write(offset::QUEUE_SEL, index);
        self.write(offset::QUEUE_NUM, size);
        let layout = driver.layout;
        for (low, address) in [
            (offset::QUEUE_DESC_LOW, layout.desc_table),
            (offset::QUEUE_DRIVER_LOW, layout.avail_ring),
            (offset::QUEUE_DEVICE_LOW, layout.used_ring),
        ] {
            self.write(low, address as u32);
            self.write(low + 4, (address >> 32) as u32);
        }
        self.write(offset::QUEUE_READY, 1);
    }

    fn drive(&mut self) -> u32 {
        self.write(
            offset::STATUS,
            1 | 2 | status::FEATURES_OK | status::DRIVER_OK,
        );
        self.page.get(offset::STATUS)
    }

    /// A running device with its first ring.
    fn running() -> (Self, Driver) {
        let mut bench = bench();
        let driver = bench.guest.driver(0, 8);
        bench.negotiate(feature::RING);
        bench.set_up(0, 8, &driver);
        bench.drive();
        (bench, driver)
    }

    fn interrupts(&self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.interrupt, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }
}

#[test]
fn the_page_shows_an_idle_device() {
    let bench = bench();
    let page = &bench.page;
    assert_eq!(page.get(offset::MAGIC_VALUE), u32::from_le_bytes(*b"virt"));
    assert_eq!(page.get(offset::VERSION), 2);
    assert_eq!(page.get(offset::DEVICE_ID), 27);
    assert_eq!(page.get(offset::STATUS), 0);
    assert_eq!(page.get(offset::QUEUE_NUM_MAX), 8);
    assert_eq!(page.get(offset::CONFIG), u32::from_le_bytes(*b"abcd"));
    assert_eq!(page.get(offset::SHM_LEN_LOW), u32::MAX);
}

#[test]
fn selections_change_what_is_read() {
    let mut bench = bench();
    assert_eq!(bench.page.get(offset::DEVICE_FEATURES), FEATURES as u32);
    bench.write(offset::DEVICE_FEATURES_SEL, 1);
    assert_eq!(
        bench.page.get(offset::DEVICE_FEATURES),
        (FEATURES >> 32) as u32
    );
    bench.write(offset::DEVICE_FEATURES_SEL, 2);
    assert_eq!(bench.page.get(offset::DEVICE_FEATURES), 0);
    bench.write(offset::QUEUE_SEL, 1);
    assert_eq!(bench.page.get(offset::QUEUE_NUM_MAX), 16);
    bench.write(offset::QUEUE_SEL, 2);
    assert_eq!(bench.page.get(offset::QUEUE_NUM_MAX), 0);
}

#[test]
fn a_driver_starts_the_device_with_what_it_set_up() {
    let (bench, mut driver) = Bench::running();
    let mut seen = bench.seen.lock().unwrap();
    assert_eq!(seen.features, feature::RING);
    let rings = seen.rings.as_mut().unwrap();
    assert!(rings[1].is_none(), "a ring that was not set up");
    let ring = rings[0].as_mut().unwrap();
    driver.offer(&[Buffer::writable(0x10_0000, 16)]);
    let chain = ring.pop().unwrap().unwrap().unwrap();
    ring.push(chain, 4).unwrap();
    ring.notify().unwrap();
    assert_eq!(driver.used(), Some((0, 4)));
    assert_eq!(bench.interrupts(), 1);
    assert_eq!(bench.page.get(offset::INTERRUPT_STATUS), 1);
}

#[test]
fn features_that_are_not_offered_are_not_accepted() {
    let mut bench = bench();
    let shown = bench.negotiate(feature::RING | 1 << 50);
    assert_eq!(shown & status::FEATURES_OK, 0);
    bench.drive();
    assert!(bench.seen.lock().unwrap().rings.is_none());
}

#[test]
fn the_interface_of_before_version_1_is_not_accepted() {
    let mut bench = bench();
    let shown = bench.negotiate(feature::RING & !(1 << feature::VIRTIO_F_VERSION_1));
    assert_eq!(shown & status::FEATURES_OK, 0);
}

#[test]
fn features_stay_once_they_are_settled() {
    let (mut bench, _driver) = Bench::running();
    bench.write(offset::DRIVER_FEATURES_SEL, 0);
    bench.write(offset::DRIVER_FEATURES, 0);
    bench.transport.pause();
    bench.transport.resume().unwrap();
    assert_eq!(bench.seen.lock().unwrap().features, feature::RING);
}

#[test]
fn a_ring_that_cannot_be_served_wants_a_reset() {
    let mut bench = bench();
    let driver = bench.guest.driver(0, 8);
    bench.negotiate(feature::RING);
    bench.set_up(0, 8, &driver);
    // Behind the end of RAM.
    bench.write(offset::QUEUE_DESC_HIGH, 1);
    let shown = bench.drive();
    assert_ne!(shown & status::NEEDS_RESET, 0);
    assert!(bench.seen.lock().unwrap().rings.is_none());
    // It stays so until the driver does that.
    assert_ne!(bench.drive() & status::NEEDS_RESET, 0);
    bench.write(offset::STATUS, 0);
    assert_eq!(bench.page.get(offset::STATUS), 0);
}

#[test]
fn a_ring_larger_than_offered_or_no_power_of_two_is_not_served() {
    for size in [16, 7, 0, 0x1_0008, u32::MAX] {
        let mut bench = bench();
        let driver = bench.guest.driver(0, 8);
        bench.negotiate(feature::RING);
        bench.set_up(0, size, &driver);
        assert_ne!(bench.drive() & status::NEEDS_RESET, 0, "size {size}");
    }
}

#[test]
fn a_running_ring_stays_where_it_is() {
    let (mut bench, driver) = Bench::running();
    bench.write(offset::QUEUE_SEL, 0);
    bench.write(offset::QUEUE_DESC_LOW, 0);
    bench.transport.pause();
    assert_eq!(
        bench.transport.save().queues[0].desc_table,
        driver.layout.desc_table
    );
}

#[test]
fn a_reset_forgets_everything() {
    let (mut bench, _driver) = Bench::running();
    bench.write(offset::STATUS, 0);
    let page = &bench.page;
    for register in [
        offset::STATUS,
        offset::INTERRUPT_STATUS,
        offset::QUEUE_READY,
    ] {
        assert_eq!(page.get(register), 0);
    }
    let seen = bench.seen.lock().unwrap();
    assert_eq!(seen.resets, 1);
    assert!(seen.rings.is_none(), "the rings were given back");
}

#[test]
fn strange_writes_change_nothing() {
    let mut bench = bench();
    let before: Vec<u32> = (0..0x200).step_by(4).map(|at| bench.page.get(at)).collect();
    for at in 0..offset::CONFIG {
        bench.transport.write(at, &[]);
        bench.transport.write(at, &[1, 2, 3]);
        bench.transport.write(at, &[0xff; 8]);
    }
    // Beyond the end of the page.
    bench.transport.write(0xffd, &[1, 2, 3, 4]);
    bench.transport.write(u32::MAX, &[1]);
    for at in [offset::MAGIC_VALUE, offset::CONFIG_GENERATION, 0x7] {
        bench.write(at, 5);
    }
    let after: Vec<u32> = (0..0x200).step_by(4).map(|at| bench.page.get(at)).collect();
    assert_eq!(before, after);
}

#[test]
fn configuration_that_is_written_is_read() {
    let mut bench = bench();
    bench.transport.write(offset::CONFIG, b"wxyz");
    assert_eq!(bench.page.get(offset::CONFIG), u32::from_le_bytes(*b"wxyz"));
}

#[test]
fn a_change_of_configuration_is_announced_until_acknowledged() {
    let (mut bench, _driver) = Bench::running();
    let ring = bench.seen.lock().unwrap().rings.take().unwrap().remove(0);
    drop(ring);
    let line = bench.transport.line.clone();
    line.config_changed(b"changed").unwrap();
    assert_eq!(bench.page.get(offset::CONFIG), u32::from_le_bytes(*b"chan"));
    assert_eq!(
        bench.page.get(offset::CONFIG + 4),
        u32::from_le_bytes(*b"ged\0")
    );
    assert_eq!(bench.page.get(offset::INTERRUPT_STATUS), 3);
    assert_eq!(bench.page.get(offset::CONFIG_GENERATION), 1);
    assert_eq!(bench.interrupts(), 1);
    bench.write(offset::INTERRUPT_ACK, 3);
    assert_eq!(bench.page.get(offset::INTERRUPT_STATUS), 1);
}

#[test]
fn a_paused_device_goes_on_where_it_stood() {
    let (mut bench, mut driver) = Bench::running();
    driver.offer(&[Buffer::writable(0x10_0000, 16)]);
    {
        let mut seen = bench.seen.lock().unwrap();
        let ring = seen.rings.as_mut().unwrap()[0].as_mut().unwrap();
        let chain = ring.pop().unwrap().unwrap().unwrap();
        ring.push(chain, 0).unwrap();
    }
    bench.transport.pause();
    bench.transport.pause();
    assert!(bench.seen.lock().unwrap().rings.is_none());
    bench.transport.resume().unwrap();
    let mut seen = bench.seen.lock().unwrap();
    let ring = seen.rings.as_mut().unwrap()[0].as_mut().unwrap();
    let expected = RingPosition {
        next_avail: 1,
        next_used: 1,
    };
    assert_eq!(ring.position(), expected);
    assert!(ring.pop().unwrap().is_none());
}

#[test]
fn an_idle_device_is_not_started_by_resuming() {
    let mut bench = bench();
    bench.transport.pause();
    bench.transport.resume().unwrap();
    assert!(bench.seen.lock().unwrap().rings.is_none());
}

#[test]
fn a_restored_transport_is_as_the_saved_one() {
    let (mut bench, _driver) = Bench::running();
    bench.write(offset::DEVICE_FEATURES_SEL, 1);
    bench.transport.pause();
    let saved = bench.transport.save();
    let copy = postcard::from_bytes(&postcard::to_stdvec(&saved).unwrap()).unwrap();
    let mut other = bench_in(bench.guest);
    other.transport.restore(&copy).unwrap();
    assert!(other.seen.lock().unwrap().rings.is_some(), "it runs again");
    other.transport.pause();
    assert_eq!(other.transport.save(), saved);
    for register in [
        offset::STATUS,
        offset::DEVICE_FEATURES,
        offset::QUEUE_NUM_MAX,
        offset::QUEUE_READY,
        offset::INTERRUPT_STATUS,
    ] {
        assert_eq!(other.page.get(register), bench.page.get(register));
    }
}
