use super::{Series, each_in_turn, in_turn};

fn series(values: &[f64]) -> Series {
    Series::new(values.to_vec())
}

#[test]
fn median_is_the_middle_of_the_sorted_figures() {
    assert_eq!(series(&[9.0, 1.0, 5.0]).median(), 5.0);
    assert_eq!(series(&[9.0, 1.0, 5.0, 7.0]).median(), 6.0);
    assert_eq!(series(&[4.0]).median(), 4.0);
}

#[test]
fn percentile_takes_the_nearest_rank() {
    let hundred = Series::new((1..=100).rev().map(f64::from).collect());
    assert_eq!(
        (hundred.percentile(50), hundred.percentile(99)),
        (50.0, 99.0)
    );
    assert_eq!(series(&[3.0, 1.0]).percentile(99), 3.0);
    assert_eq!(series(&[3.0, 1.0]).percentile(0), 1.0);
}

#[test]
fn ratio_is_taken_pair_by_pair() {
    let ratio = series(&[2.0, 9.0]).ratio(&series(&[1.0, 3.0]));
    assert_eq!(ratio, series(&[2.0, 3.0]));
}

#[test]
#[should_panic(expected = "no figure was taken")]
fn a_series_has_figures() {
    series(&[]);
}

#[test]
fn sides_take_turns() {
    let order = std::cell::RefCell::new(String::new());
    let step = |side| {
        order.borrow_mut().push(side);
        Ok(side)
    };
    let given = in_turn(2, &mut [&mut || step('a'), &mut || step('b')]).unwrap();
    assert_eq!(given, [['a', 'a'], ['b', 'b']]);
    let given = each_in_turn(2, &['c', 'd'], |side| step(*side)).unwrap();
    assert_eq!(given, [['c', 'c'], ['d', 'd']]);
    assert_eq!(order.into_inner(), "ababcdcd");
}
