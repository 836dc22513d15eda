//! How long ago something was, in the words of listings.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A span of time, told in its largest unit: `3 hours ago`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Age(Duration);

impl Age {
    /// The time from `then` to now; none if `then` is in the future.
    pub fn since(then: SystemTime) -> Self {
        Self(then.elapsed().unwrap_or_default())
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 5] = [
            (7 * 86_400, "week"),
            (86_400, "day"),
            (3_600, "hour"),
            (60, "minute"),
            (1, "second"),
        ];
        let seconds = self.0.as_secs();
        let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| seconds >= *unit) else {
            return f.pad("just now");
        };
        let count = seconds / unit;
        f.pad(&format!(
            "{count} {name}{} ago",
            if count == 1 { "" } else { "s" }
        ))
    }
}

#[cfg(test)]
#[path = "age_test.rs"]
mod tests;
