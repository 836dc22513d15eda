//! A histogram of durations that many threads add to without waiting for each other.
//!
//! Buckets are log-linear: each power of two of nanoseconds is divided into [`STEPS`] equal ones, so that a bucket is at most
//! 1/8 as wide as what it holds, from nanoseconds to minutes, in 2.3 KiB.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Buckets for each power of two.
const STEPS: u64 = 1 << STEP_BITS;
const STEP_BITS: u32 = 3;
/// Durations from 2^39 ns (nine minutes) on are all in the last bucket.
const LAST_POWER: u32 = 39;
const BUCKETS: usize = (STEPS as usize) * (LAST_POWER - STEP_BITS + 1) as usize;

/// Durations, by how often each occurred.
#[derive(Debug)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS],
    total: AtomicU64,
    longest: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
            total: AtomicU64::new(0),
            longest: AtomicU64::new(0),
        }
    }
}

impl Histogram {
    /// Adds one.
    pub fn add(&self, duration: Duration) {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(ns)].fetch_add(1, Ordering::Relaxed);
        self.total.fetch_add(ns, Ordering::Relaxed);
        if ns > self.longest.load(Ordering::Relaxed) {
            self.longest.fetch_max(ns, Ordering::Relaxed);
        }
    }

    /// What there is by now. One that is being added meanwhile may be in one figure and not yet in another.
    pub fn snapshot(&self) -> Snapshot {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Snapshot {
            buckets: self.buckets.iter().map(read).collect(),
            total: read(&self.total),
            longest: read(&self.longest),
        }
    }
}

/// A histogram at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    buckets: Vec<u64>,
    total: u64,
    longest: u64,
}

impl Snapshot {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.total)
    }

    /// The longest.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// The duration that `percent` of all do not exceed, at most 1/8 too long; zero when there are none.
    pub fn quantile(&self, percent: u64) -> Duration {
        let wanted = (u128::from(self.count()) * u128::from(percent)).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= wanted {
                return Duration::from_nanos(last_of(index).min(self.longest));
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a duration.
fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    let power = ns.ilog2();
    if power >= LAST_POWER {
        return BUCKETS - 1;
    }
    let step = (ns >> (power - STEP_BITS)) - STEPS;
    (u64::from(power - STEP_BITS + 1) * STEPS + step) as usize
}

/// The longest duration of a bucket.
fn last_of(index: usize) -> u64 {
    let (power, step) = (index as u64 / STEPS, index as u64 % STEPS);
    match power {
        0 => step,
        _ if index == BUCKETS - 1 => u64::MAX,
        _ => ((STEPS + step + 1) << (power - 1)) - 1,
    }
}

#[cfg(test)]
#[path = "histogram_test.rs"]
mod tests;
