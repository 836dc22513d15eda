//! How far the guest's clock is ahead of ours, estimated from questions and answers as NTP does (RFC 5905 section 8).
//!
//! An answer was given at some moment between question and reply, so the offset that takes the middle is wrong by half of the way there
//! and back at most. Clocks drift, so the bound grows with the time between a question and the moment in question.

use std::collections::VecDeque;

/// How fast two clocks may drift apart, in millionths: what Linux slews a clock by at most.
const DRIFT: u64 = 500;
/// Questions that are remembered.
const KEPT: usize = 64;

/// The guest's clock, by our own. All times are in nanoseconds.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    samples: VecDeque<Sample>,
}

/// What one question tells.
#[derive(Debug, Clone, Copy)]
struct Sample {
    /// By our clock.
    at: u64,
    offset: i64,
    /// Half of the way there and back.
    half: u64,
}

/// An offset, and how far it may be from the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Estimate {
    /// The guest's clock is so far ahead.
    pub offset: i64,
    /// It may be so much more or less.
    pub bound: u64,
}

impl Clock {
    /// Learns from a question that was `asked` and `answered` by our clock, and `received` and answered (`sent`) by the guest's. An
    /// answer that cannot be true teaches nothing.
    pub fn learn(&mut self, asked: u64, received: u64, sent: u64, answered: u64) {
        let (Some(away), Some(there)) = (answered.checked_sub(asked), sent.checked_sub(received))
        else {
            return;
        };
        let middle = |from: u64, to: u64| i128::from(from) + i128::from(to - from) / 2;
        let Ok(offset) = i64::try_from(middle(received, sent) - middle(asked, answered)) else {
            return;
        };
        let sample = Sample {
            at: asked + away / 2,
            offset,
            half: away.saturating_sub(there) / 2 + drift(away) + 2,
        };
        // The guest's clock stands still while the machine does: what was known before means nothing then.
        if self.at(sample.at).is_some_and(|known| {
            known.offset.abs_diff(sample.offset) > known.bound.saturating_add(sample.half)
        }) {
            self.samples.clear();
        }
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// The best that is known for the moment `at` of our clock.
    pub fn at(&self, at: u64) -> Option<Estimate> {
        let estimates = self.samples.iter().map(|sample| Estimate {
            offset: sample.offset,
            bound: sample.half.saturating_add(drift(at.abs_diff(sample.at))),
        });
        estimates.min_by_key(|estimate| estimate.bound)
    }
}

/// How far clocks may have drifted apart after this time.
fn drift(time: u64) -> u64 {
    (u128::from(time) * u128::from(DRIFT)).div_ceil(1_000_000) as u64
}

#[cfg(test)]
#[path = "clock_test.rs"]
mod tests;
