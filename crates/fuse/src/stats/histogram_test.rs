use proptest::prelude::*;

use super::*;

#[test]
fn buckets_follow_each_other_without_a_gap() {
    for index in 0..BUCKETS - 1 {
        let last = last_of(index);
        assert_eq!(bucket(last), index);
        assert_eq!(bucket(last + 1), index + 1);
    }
    assert_eq!(bucket(u64::MAX), BUCKETS - 1);
}

#[test]
fn nothing_has_no_quantiles() {
    let nothing = Histogram::default().snapshot();
    assert_eq!(nothing.count(), 0);
    assert_eq!(nothing.quantile(99), Duration::ZERO);
}

proptest! {
    #[test]
    fn quantiles_are_at_most_an_eighth_too_long(mut all in prop::collection::vec(0..1_u64 << 38, 1..200), percent in 1..=100_u64) {
        let histogram = Histogram::default();
        for ns in &all {
            histogram.add(Duration::from_nanos(*ns));
        }
        all.sort_unstable();
        let snapshot = histogram.snapshot();
        prop_assert_eq!(snapshot.count(), all.len() as u64);
        prop_assert_eq!(snapshot.total(), Duration::from_nanos(all.iter().sum()));
        prop_assert_eq!(snapshot.longest(), Duration::from_nanos(all[all.len() - 1]));
        let exact = all[(all.len() * percent as usize).div_ceil(100) - 1];
        let told = snapshot.quantile(percent).as_nanos() as u64;
        prop_assert!(exact <= told && told <= exact + exact / 8 + 1, "{} for {}", told, exact);
    }
}
