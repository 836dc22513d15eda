use proptest::prelude::*;

use super::*;

/// The guest's clock: ahead of ours by `offset` at our zero, and too fast by `drift` millionths.
#[derive(Debug, Clone, Copy)]
struct Guest {
    offset: i64,
    drift: i64,
}

impl Guest {
    fn at(self, ours: u64) -> u64 {
        let drifted = i128::from(ours) * i128::from(self.drift) / 1_000_000;
        u64::try_from(i128::from(ours) + drifted + i128::from(self.offset)).unwrap()
    }
}

const START: u64 = 1 << 50;

/// A question after `pause`: `there` and `back` are the ways, `think` is the guest's time in between.
fn ask(clock: &mut Clock, guest: Guest, now: &mut u64, [pause, there, think, back]: [u64; 4]) {
    let asked = *now + pause;
    let received = asked + there;
    let sent = received + think;
    *now = sent + back;
    clock.learn(asked, guest.at(received), guest.at(sent), *now);
}

prop_compose! {
    fn guests()(offset in -(1_i64 << 49)..1 << 49, drift in -(DRIFT as i64)..=DRIFT as i64) -> Guest {
        Guest { offset, drift }
    }
}

prop_compose! {
    fn questions()(all in prop::collection::vec(
        (0..200_000_000_u64, 0..2_000_000_u64, 0..100_000_u64, 0..2_000_000_u64), 1..100
    )) -> Vec<[u64; 4]> {
        all.into_iter().map(|(pause, there, think, back)| [pause, there, think, back]).collect()
    }
}

proptest! {
    #[test]
    fn the_error_is_within_the_bound(guest in guests(), questions in questions(), moment in 0..1_000_u64) {
        let (mut clock, mut now) = (Clock::default(), START);
        for question in questions {
            ask(&mut clock, guest, &mut now, question);
        }
        let moment = START + (now - START) / 1000 * moment;
        let estimate = clock.at(moment).unwrap();
        let truth = guest.at(moment) as i128 - i128::from(moment);
        let error = (i128::from(estimate.offset) - truth).unsigned_abs();
        prop_assert!(error <= u128::from(estimate.bound), "{} off, {:?}", error, estimate);
    }
}

#[test]
fn the_quickest_answer_counts() {
    let (mut clock, mut now) = (Clock::default(), START);
    let guest = Guest {
        offset: 1_000_000,
        drift: 0,
    };
    ask(&mut clock, guest, &mut now, [0, 900_000, 0, 0]);
    ask(&mut clock, guest, &mut now, [0, 1_000, 0, 1_000]);
    ask(&mut clock, guest, &mut now, [0, 0, 0, 700_000]);
    let estimate = clock.at(now).unwrap();
    assert_eq!(estimate.offset, 1_000_000);
    assert!(estimate.bound < 2_000, "{estimate:?}");
}

#[test]
fn a_clock_that_stood_still_is_learnt_anew() {
    let (mut clock, mut now) = (Clock::default(), START);
    let mut guest = Guest {
        offset: 5_000_000_000,
        drift: 0,
    };
    ask(&mut clock, guest, &mut now, [0, 100, 0, 100]);
    guest.offset = 2_000_000_000;
    ask(
        &mut clock,
        guest,
        &mut now,
        [3_000_000_000, 9_000, 0, 9_000],
    );
    assert_eq!(clock.at(now).unwrap().offset, 2_000_000_000);
}

#[test]
fn nonsense_teaches_nothing() {
    let mut clock = Clock::default();
    clock.learn(10, 5, 6, 9);
    clock.learn(10, 6, 5, 11);
    clock.learn(0, u64::MAX, u64::MAX, 1);
    assert_eq!(clock.at(10), None);
}
