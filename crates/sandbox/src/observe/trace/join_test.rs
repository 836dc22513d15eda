use proptest::prelude::*;

use super::*;

/// The guest's clock is this far ahead of ours.
const AHEAD: u64 = 7_000_000_000;
const SHARE: usize = 1;

fn clock(wrong_by: i64) -> Clock {
    let mut clock = Clock::default();
    let received = (AHEAD as i64 + wrong_by) as u64;
    clock.learn(1_000, received + 2_000, received + 2_000, 3_000);
    clock
}

fn served(opcode: Opcode, unique: u64) -> ServedRequest {
    ServedRequest {
        share: SHARE,
        unique,
        opcode: opcode as u32,
        node: 5,
        error: None,
        bytes: 0,
        arrived_ns: 50_000,
        done_ns: 80_000,
        file_system_ns: 12_000,
    }
}

/// An event at a moment of our clock.
fn event(unique: u64, step: TraceStep, at: u64) -> TraceEvent {
    TraceEvent {
        connection: 45,
        unique,
        opcode: Opcode::Read as u32,
        step,
        at_ns: at + AHEAD,
    }
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

#[test]
fn a_request_is_told_of_when_both_sides_have() {
    let (mut join, clock) = (Join::default(), clock(0));
    let sent = event(8, TraceStep::Sent, 10_000);
    assert_eq!(join.guest(SHARE, sent, &clock, 0), None);
    let taken = event(8, TraceStep::Taken, 25_000);
    assert_eq!(join.guest(SHARE, taken, &clock, 0), None);
    assert_eq!(join.host(served(Opcode::Read, 8), &clock, 0), None);
    let ended = event(8, TraceStep::Ended, 100_000);
    let told = join.guest(SHARE, ended, &clock, 0).unwrap();
    assert_eq!((told.share, told.operation), (SHARE, "read"));
    assert_eq!(told.at_ns, 25_000);
    let host = told.host.unwrap();
    assert_eq!((host.server, host.file_system), (micros(18), micros(12)));
    let guest = told.guest.unwrap();
    assert_eq!((guest.total, guest.queue), (micros(90), Some(micros(15))));
    let ways = told.ways.unwrap();
    assert_eq!((ways.transport, ways.reply), (micros(25), micros(20)));
    assert_eq!(join.overdue(&clock, u64::MAX), None);
}

#[test]
fn requests_of_other_shares_and_numbers_are_others() {
    let (mut join, clock) = (Join::default(), clock(0));
    join.host(served(Opcode::Read, 8), &clock, 0);
    for (share, unique) in [(0, 8), (SHARE, 10)] {
        for step in [TraceStep::Sent, TraceStep::Ended] {
            assert_eq!(join.guest(share, event(unique, step, 1), &clock, 0), None);
        }
    }
}

#[test]
fn one_that_has_no_answer_is_told_of_at_once() {
    let (mut join, clock) = (Join::default(), clock(0));
    let told = join.host(served(Opcode::Forget, 8), &clock, 0).unwrap();
    assert_eq!(told.operation, "forget");
    assert_eq!((told.guest, told.ways), (None, None));
}

#[test]
fn a_half_is_told_of_when_its_other_does_not_come() {
    let (mut join, clock) = (Join::default(), clock(0));
    join.host(served(Opcode::Open, 8), &clock, 0);
    join.guest(SHARE, event(10, TraceStep::Sent, 10_000), &clock, 1);
    join.guest(SHARE, event(10, TraceStep::Ended, 30_000), &clock, 1);
    // Of this one there is nothing to tell.
    join.guest(SHARE, event(12, TraceStep::Sent, 10_000), &clock, 1);
    assert_eq!(join.overdue(&clock, PATIENCE - 1), None);
    let host = join.overdue(&clock, PATIENCE).unwrap();
    assert_eq!((host.operation, host.guest), ("open", None));
    assert_eq!(host.host.unwrap().file_system, micros(12));
    assert_eq!(join.overdue(&clock, PATIENCE), None);
    let guest = join.overdue(&clock, PATIENCE + 1).unwrap();
    assert_eq!((guest.operation, guest.host), ("read", None));
    assert_eq!(guest.guest.unwrap().total, micros(20));
    assert_eq!(join.overdue(&clock, u64::MAX), None);
}

#[test]
fn no_more_than_the_limit_wait() {
    let (mut join, clock) = (Join::default(), clock(0));
    for unique in 0..MOST as u64 {
        join.host(served(Opcode::Read, unique), &clock, 0);
        assert_eq!(join.overdue(&clock, 0), None);
    }
    join.host(served(Opcode::Open, MOST as u64), &clock, 0);
    assert_eq!(join.overdue(&clock, 0).unwrap().operation, "read");
    assert_eq!(join.overdue(&clock, 0), None);
}

proptest! {
    #[test]
    fn parts_make_up_the_whole_whatever_the_clocks_say(
        wrong_by in -1_000_000_000_i64..1_000_000_000,
        times in prop::array::uniform5(0..1_000_000_000_u64),
        file_system_ns: u64,
        with_queue: bool,
    ) {
        let [arrived_ns, done_ns, sent, taken, ended] = times;
        let (mut join, clock) = (Join::default(), clock(wrong_by));
        let request = ServedRequest { arrived_ns, done_ns, file_system_ns, ..served(Opcode::Read, 8) };
        join.host(request, &clock, 0);
        join.guest(SHARE, event(8, TraceStep::Sent, sent), &clock, 0);
        if with_queue {
            join.guest(SHARE, event(8, TraceStep::Taken, taken), &clock, 0);
        }
        let told = join.guest(SHARE, event(8, TraceStep::Ended, ended), &clock, 0).unwrap();
        let (host, guest, ways) = (told.host.unwrap(), told.guest.unwrap(), told.ways.unwrap());
        let queue = guest.queue.unwrap_or_default();
        prop_assert_eq!(
            queue + ways.transport + host.server + host.file_system + ways.reply,
            guest.total
        );
    }
}
