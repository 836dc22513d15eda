use super::*;
use crate::memory::Span;
use crate::testing::{Buffer, Driver, FakeGuest, INDIRECT, NEXT, RAM_SIZE, WRITE};

const SIZE: u16 = 8;

/// An honest driver and the device's end of its ring.
fn honest() -> (FakeGuest, Driver, Ring) {
    let mut guest = FakeGuest::new();
    let driver = guest.driver(3, SIZE);
    let ring = driver.ring();
    (guest, driver, ring)
}

fn pop(ring: &mut Ring) -> Result<Chain, ChainError> {
    ring.pop().expect("a sound ring").expect("a chain")
}

#[test]
fn a_chain_is_taken_filled_and_given_back() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    let head = driver.offer(&[Buffer::readable(page, 10), Buffer::writable(page + 64, 20)]);

    let chain = pop(&mut ring).unwrap();
    assert_eq!(
        chain.readable(),
        [Span {
            addr: page,
            len: 10
        }]
    );
    assert_eq!(
        chain.writable(),
        [Span {
            addr: page + 64,
            len: 20
        }]
    );
    assert!(ring.pop().unwrap().is_none());
    ring.push(chain, 7).unwrap();
    ring.notify().unwrap();

    assert_eq!(driver.wait_used(), (head, 7));
    assert_eq!(
        ring.position(),
        RingPosition {
            next_avail: 1,
            next_used: 1
        }
    );
}

#[test]
fn an_unpopped_chain_comes_again() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    driver.offer(&[Buffer::writable(page, 10)]);
    let chain = pop(&mut ring).unwrap();
    ring.unpop(chain);
    assert_eq!(
        pop(&mut ring).unwrap().writable(),
        [Span {
            addr: page,
            len: 10
        }]
    );
}

#[test]
fn the_ring_wraps_around_its_indices() {
    let (mut guest, mut driver, _) = honest();
    let page = guest.allocate(4096);
    let mut ring = driver.ring();
    // More than 2^16, so that the 16-bit indices wrap as well.
    for i in 0..70_000u32 {
        let head = driver.offer(&[Buffer::writable(page, 10)]);
        let chain = pop(&mut ring).unwrap();
        ring.push(chain, i).unwrap();
        assert_eq!(driver.used(), Some((head, i)));
    }
}

#[test]
fn an_indirect_table_is_followed() {
    let (mut guest, mut driver, mut ring) = honest();
    let table = guest.allocate(4096);
    driver.write_descriptor(table, 0x1000, 1, NEXT, 2);
    driver.write_descriptor(table + 32, 0x2000, 2, WRITE, 0);
    driver.describe(0, table, 48, INDIRECT, 0);
    driver.publish(0);
    let chain = pop(&mut ring).unwrap();
    assert_eq!(
        chain.readable(),
        [Span {
            addr: 0x1000,
            len: 1
        }]
    );
    assert_eq!(
        chain.writable(),
        [Span {
            addr: 0x2000,
            len: 2
        }]
    );
}

/// Lies in one chain: it is given back with nothing written, the error says why, and the next chain is served.
fn assert_refused(lie: impl FnOnce(&mut FakeGuest, &Driver), expected: ChainError) {
    let (mut guest, mut driver, mut ring) = honest();
    lie(&mut guest, &driver);
    driver.publish(0);
    assert_eq!(pop(&mut ring).unwrap_err(), expected);
    assert_eq!(driver.used(), Some((0, 0)));
    driver.describe(5, 0x1000, 1, 0, 0);
    driver.publish(5);
    assert_eq!(
        pop(&mut ring).unwrap().readable(),
        [Span {
            addr: 0x1000,
            len: 1
        }]
    );
}

#[test]
fn a_loop_is_refused() {
    let lie = |_: &mut FakeGuest, driver: &Driver| {
        driver.describe(0, 0x1000, 1, NEXT, 1);
        driver.describe(1, 0x1000, 1, NEXT, 0);
    };
    assert_refused(lie, ChainError::TooLong { limit: SIZE });
}

#[test]
fn a_loop_of_empty_buffers_is_refused() {
    assert_refused(
        |_, d| d.describe(0, 0x1000, 0, NEXT, 0),
        ChainError::TooLong { limit: SIZE },
    );
}

#[test]
fn a_next_beyond_the_table_is_refused() {
    assert_refused(
        |_, d| d.describe(0, 0x1000, 1, NEXT, SIZE),
        ChainError::Next {
            next: SIZE,
            size: SIZE,
        },
    );
}

#[test]
fn a_readable_buffer_after_a_writable_one_is_refused() {
    let lie = |_: &mut FakeGuest, driver: &Driver| {
        driver.describe(0, 0x1000, 1, NEXT | WRITE, 1);
        driver.describe(1, 0x1000, 1, 0, 0);
    };
    assert_refused(lie, ChainError::Order);
}

#[test]
fn lengths_beyond_32_bits_are_refused() {
    let lie = |_: &mut FakeGuest, driver: &Driver| {
        driver.describe(0, 0x1000, u32::MAX, NEXT, 1);
        driver.describe(1, 0x1000, 2, 0, 0);
    };
    assert_refused(lie, ChainError::Overflow);
}

#[test]
fn an_indirect_table_outside_of_ram_is_refused() {
    assert_refused(
        |_, d| d.describe(0, RAM_SIZE, 16, INDIRECT, 0),
        ChainError::Table { addr: RAM_SIZE },
    );
    assert_refused(
        |_, d| d.describe(0, u64::MAX - 7, 16, INDIRECT, 0),
        ChainError::Table { addr: u64::MAX - 7 },
    );
}

#[test]
fn an_indirect_table_of_a_wrong_length_is_refused() {
    for len in [0, 15, 17, !15] {
        assert_refused(
            |_, d| d.describe(0, 0x1000, len, INDIRECT, 0),
            ChainError::Indirect { len },
        );
    }
}

#[test]
fn an_indirect_table_inside_one_is_refused() {
    let lie = |guest: &mut FakeGuest, driver: &Driver| {
        let table = guest.allocate(4096);
        driver.write_descriptor(table, table, 16, INDIRECT, 0);
        driver.describe(0, table, 16, INDIRECT, 0);
    };
    assert_refused(lie, ChainError::Indirect { len: 16 });
}

#[test]
fn a_chain_that_goes_on_after_an_indirect_table_is_refused() {
    assert_refused(
        |_, d| d.describe(0, 0x1000, 16, INDIRECT | NEXT, 1),
        ChainError::Indirect { len: 16 },
    );
}

#[test]
fn a_long_indirect_table_is_no_way_around_the_limit() {
    let lie = |guest: &mut FakeGuest, driver: &Driver| {
        let table = guest.allocate(4096);
        for i in 0..16 {
            driver.write_descriptor(table + 16 * i, 0x1000, 1, NEXT, i as u16 + 1);
        }
        driver.describe(0, table, 16 * 16, INDIRECT, 0);
    };
    assert_refused(lie, ChainError::TooLong { limit: SIZE });
}

#[test]
fn a_head_beyond_the_table_breaks_the_ring() {
    let (_guest, mut driver, mut ring) = honest();
    driver.publish(SIZE);
    let error = ring.pop().unwrap_err();
    assert!(
        matches!(
            error,
            RingError::Head {
                index: 3,
                head: SIZE,
                size: SIZE
            }
        ),
        "{error}"
    );
}

#[test]
fn more_offered_than_the_ring_holds_breaks_the_ring() {
    let (_guest, mut driver, mut ring) = honest();
    driver.set_available(SIZE + 1);
    let error = ring.pop().unwrap_err();
    let RingError::Broken { index: 3, source } = error else {
        panic!("{error}")
    };
    assert!(
        matches!(source, virtio_queue::Error::InvalidAvailRingIndex),
        "{source}"
    );
}

#[test]
fn a_ring_outside_of_ram_or_askew_is_refused() {
    let mut guest = FakeGuest::new();
    let good = guest.driver(0, SIZE).layout;
    let set_up = |layout: RingLayout| {
        let position = RingPosition {
            next_avail: 0,
            next_used: 0,
        };
        let driver = FakeGuest::new().driver(0, SIZE);
        let line = Arc::new(crate::testing::Bells::default());
        match Ring::new(
            0,
            layout,
            position,
            true,
            guest.memory(),
            driver.doorbell(),
            line,
        ) {
            Ok(_) => "fine",
            Err(RingError::SetUp { reason, .. }) => reason,
            Err(other) => panic!("{other}"),
        }
    };
    assert_eq!(set_up(good), "fine");
    let outside = "it is not inside of RAM";
    assert_eq!(
        set_up(RingLayout {
            desc_table: RAM_SIZE - 16,
            ..good
        }),
        outside
    );
    assert_eq!(
        set_up(RingLayout {
            used_ring: RAM_SIZE - 4,
            ..good
        }),
        outside
    );
    assert_eq!(
        set_up(RingLayout {
            avail_ring: RAM_SIZE,
            ..good
        }),
        outside
    );
    assert_eq!(
        set_up(RingLayout {
            avail_ring: 0,
            ..good
        }),
        outside
    );
    assert_eq!(
        set_up(RingLayout {
            desc_table: !15,
            ..good
        }),
        outside
    );
    let askew = "an address is not aligned";
    assert_eq!(
        set_up(RingLayout {
            desc_table: good.desc_table + 8,
            ..good
        }),
        askew
    );
    assert_eq!(
        set_up(RingLayout {
            avail_ring: good.avail_ring + 1,
            ..good
        }),
        askew
    );
    assert_eq!(
        set_up(RingLayout {
            used_ring: good.used_ring + 2,
            ..good
        }),
        askew
    );
    let size = "the size is no power of two up to 32768";
    assert_eq!(set_up(RingLayout { size: 0, ..good }), size);
    assert_eq!(set_up(RingLayout { size: 7, ..good }), size);
    assert_eq!(
        set_up(RingLayout {
            size: 0x8001,
            ..good
        }),
        size
    );
}

#[test]
fn the_last_rings_bytes_are_checked_too() {
    // used_event and avail_event lie behind the rings proper: a ring whose event field is outside of RAM is found out.
    let mut guest = FakeGuest::new();
    let good = guest.driver(0, SIZE).layout;
    let avail_ring = RAM_SIZE - (4 + 2 * u64::from(SIZE));
    let position = RingPosition {
        next_avail: 0,
        next_used: 0,
    };
    let line = Arc::new(crate::testing::Bells::default());
    let driver = FakeGuest::new().driver(0, SIZE);
    let layout = RingLayout { avail_ring, ..good };
    assert!(
        Ring::new(
            0,
            layout,
            position,
            true,
            guest.memory(),
            driver.doorbell(),
            line
        )
        .is_err()
    );
}

#[test]
fn arming_finds_what_came_in_meanwhile() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    assert!(!ring.arm().unwrap());
    ring.disarm().unwrap();
    driver.offer(&[Buffer::writable(page, 10)]);
    assert!(ring.arm().unwrap());
}

#[test]
fn a_driver_is_told_only_of_what_came_back() {
    let (mut guest, mut driver, _) = honest();
    let page = guest.allocate(4096);
    let mut ring = driver.ring_without_event_idx();
    ring.notify().unwrap();
    driver.offer(&[Buffer::writable(page, 1)]);
    driver.offer(&[Buffer::writable(page, 1)]);
    for _ in 0..2 {
        let chain = pop(&mut ring).unwrap();
        ring.push(chain, 1).unwrap();
    }
    ring.notify().unwrap();
    ring.notify().unwrap();
    let mut count = [0; 8];
    rustix::io::read(driver.interrupt(), &mut count).unwrap();
    assert_eq!(u64::from_ne_bytes(count), 1);
}

#[test]
fn a_driver_that_wants_no_interrupts_gets_none() {
    let (mut guest, mut driver, _) = honest();
    let page = guest.allocate(4096);
    let mut ring = driver.ring_without_event_idx();
    for (flags, expected) in [(1u16, None), (0, Some(1))] {
        guest.write(driver.layout.avail_ring, &flags.to_le_bytes());
        driver.offer(&[Buffer::writable(page, 1)]);
        let chain = pop(&mut ring).unwrap();
        ring.push(chain, 1).unwrap();
        ring.notify().unwrap();
        let mut count = [0; 8];
        let read = rustix::io::read(driver.interrupt(), &mut count);
        let count = read.ok().map(|_| u64::from_ne_bytes(count));
        assert_eq!(count, expected);
    }
}

#[test]
fn an_interrupt_comes_when_the_used_index_passes_the_event() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    let event = driver.layout.avail_ring + 4 + 2 * u64::from(driver.layout.size);
    // The driver wants to know of the third one only.
    guest.write(event, &2u16.to_le_bytes());
    let mut seen = Vec::new();
    for _ in 0..2 {
        let chains: Vec<_> = (0..2)
            .map(|_| {
                driver.offer(&[Buffer::writable(page, 1)]);
                (pop(&mut ring).unwrap(), 1)
            })
            .collect();
        ring.push_together(chains).unwrap();
        ring.notify().unwrap();
        seen.push(rustix::io::read(driver.interrupt(), &mut [0; 8]).is_ok());
    }
    assert_eq!(seen, [false, true]);
}

#[test]
fn chains_given_back_together_come_in_order() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    let heads: Vec<_> = (0..3)
        .map(|_| driver.offer(&[Buffer::writable(page, 9)]))
        .collect();
    let chains: Vec<_> = (1..4).map(|len| (pop(&mut ring).unwrap(), len)).collect();
    ring.push_together(chains).unwrap();
    let used: Vec<_> = std::iter::from_fn(|| driver.used()).collect();
    assert_eq!(used, [(heads[0], 1), (heads[1], 2), (heads[2], 3)]);
}

#[test]
fn chains_that_were_put_back_come_again() {
    let (mut guest, mut driver, mut ring) = honest();
    let page = guest.allocate(4096);
    for len in 1..4 {
        driver.offer(&[Buffer::writable(page, len)]);
    }
    pop(&mut ring).unwrap();
    let at = ring.position().next_avail;
    let second = pop(&mut ring).unwrap();
    pop(&mut ring).unwrap();
    ring.rewind(at);
    assert_eq!(pop(&mut ring).unwrap(), second);
}
