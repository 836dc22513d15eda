use super::*;

#[test]
fn times_are_in_the_largest_unit_that_they_reach() {
    assert_eq!(time(0), "0ns");
    assert_eq!(time(999), "999ns");
    assert_eq!(time(1000), "1.00µs");
    assert_eq!(time(45_678), "45.7µs");
    assert_eq!(time(456_789_000), "457ms");
    assert_eq!(time(7_200_000_000_000), "7200s");
}

#[test]
fn bytes_are_in_the_largest_unit_that_they_reach() {
    assert_eq!(bytes(1023), "1023B");
    assert_eq!(bytes(1536), "1.50KiB");
    assert_eq!(bytes(u64::MAX), "16777216TiB");
}
