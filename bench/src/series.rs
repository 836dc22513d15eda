//! Figures of one kind, and pairs of them.

use serde::Serialize;

/// Figures of one kind in the order in which they were taken; at least one.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Series(Vec<f64>);

impl Series {
    /// The figures `values`.
    ///
    /// # Panics
    /// When there are none: a program that measured nothing has nothing to report.
    pub fn new(values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "no figure was taken");
        Self(values)
    }

    /// The figure in the middle; the mean of both when two are.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        match sorted.len() % 2 {
            0 => f64::midpoint(sorted[middle - 1], sorted[middle]),
            _ => sorted[middle],
        }
    }

    /// The smallest.
    pub fn min(&self) -> f64 {
        self.sorted()[0]
    }

    /// The largest.
    pub fn max(&self) -> f64 {
        self.sorted()[self.0.len() - 1]
    }

    /// The smallest figure that at least `percent` of 100 figures do not exceed (nearest rank).
    pub fn percentile(&self, percent: usize) -> f64 {
        let rank = (self.0.len() * percent).div_ceil(100);
        self.sorted()[rank.max(1) - 1]
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Each figure divided by the one of `other` that was taken beside it.
    pub fn ratio(&self, other: &Series) -> Series {
        assert_eq!(self.0.len(), other.0.len(), "pairs have two sides");
        Series(
            self.0
                .iter()
                .zip(&other.0)
                .map(|(ours, theirs)| ours / theirs)
                .collect(),
        )
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

/// Something to measure, again and again.
pub type Side<'a, T> = &'a mut dyn FnMut() -> anyhow::Result<T>;

/// Lets the `sides` take turns, `rounds` times each, and answers what each gave.
///
/// # Errors
/// The first failure of any side.
pub fn in_turn<T>(rounds: usize, sides: &mut [Side<'_, T>]) -> anyhow::Result<Vec<Vec<T>>> {
    let mut given: Vec<Vec<T>> = sides.iter().map(|_| Vec::with_capacity(rounds)).collect();
    for _ in 0..rounds {
        for (side, given) in sides.iter_mut().zip(&mut given) {
            given.push(side()?);
        }
    }
    Ok(given)
}

/// Lets all of `sides` take turns in the same measurement, as [`in_turn`] does.
///
/// # Errors
/// The first failure of any side.
pub fn each_in_turn<S, T>(
    rounds: usize,
    sides: &[S],
    measure: impl Fn(&S) -> anyhow::Result<T>,
) -> anyhow::Result<Vec<Vec<T>>> {
    let measure = &measure;
    let mut runs: Vec<_> = sides.iter().map(|side| move || measure(side)).collect();
    let mut turns: Vec<Side<'_, T>> = runs.iter_mut().map(|run| run as Side<'_, T>).collect();
    in_turn(rounds, &mut turns)
}

#[cfg(test)]
#[path = "series_test.rs"]
mod tests;
