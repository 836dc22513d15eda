//! Counts what a server does, by operation: how often, how many fail, how many bytes, how long each takes.
//!
//! Threads of the server only add to atomic numbers. An operation that never occurs takes a word; each that does, 2.3 KiB.

mod histogram;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use histogram::{Histogram, Snapshot};

use crate::server::Served;
use crate::wire::Opcode;

/// One more than the largest number of an operation.
const NUMBERS: usize = {
    let mut largest = 0;
    let mut index = 0;
    while index < Opcode::ALL.len() {
        let number = Opcode::ALL[index] as usize;
        if number > largest {
            largest = number;
        }
        index += 1;
    }
    largest + 1
};

/// The counts of one server.
#[derive(Debug)]
pub struct Stats {
    /// By the operation's number. Those that the server does not know are all at 0, which is no operation's.
    operations: [OnceLock<Box<Counters>>; NUMBERS],
}

#[derive(Debug, Default)]
struct Counters {
    latency: Histogram,
    errors: AtomicU64,
    bytes: AtomicU64,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            operations: [const { OnceLock::new() }; NUMBERS],
        }
    }
}

impl Stats {
    /// Counts a request.
    pub fn count(&self, served: &Served) {
        let number = served.opcode.map_or(0, |opcode| opcode as usize);
        let counters = self.operations[number].get_or_init(Box::default);
        let latency = served.done.saturating_duration_since(served.arrived);
        counters.latency.add(latency);
        if served.error.is_some() {
            counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        if served.bytes > 0 {
            counters.bytes.fetch_add(served.bytes, Ordering::Relaxed);
        }
    }

    /// What was counted so far, of the operations that occurred; those that took the most time together come first.
    pub fn operations(&self) -> Vec<Operation> {
        let mut operations: Vec<_> = self
            .operations
            .iter()
            .enumerate()
            .filter_map(|(number, counters)| Some(Operation::of(number, counters.get()?)))
            .collect();
        operations.sort_by_key(|operation| std::cmp::Reverse(operation.total));
        operations
    }
}

/// What was counted of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Operation {
    /// Its name, in small letters; `unknown` for all that the server does not know.
    pub name: &'static str,
    /// How many there were.
    pub count: u64,
    /// How many of them failed. A name that is not there is one only where the client must not remember that.
    pub errors: u64,
    /// Bytes of files that were read or written.
    pub bytes: u64,
    /// The time that all took together, each from its arrival to its reply.
    pub total: Duration,
    /// Half of them took no longer.
    pub median: Duration,
    /// 90 of 100 took no longer.
    pub p90: Duration,
    /// 99 of 100 took no longer.
    pub p99: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Operation {
    fn of(number: usize, counters: &Counters) -> Self {
        let latency = counters.latency.snapshot();
        Self {
            name: Opcode::from_number(number as u32).map_or("unknown", Opcode::name),
            count: latency.count(),
            errors: counters.errors.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
            total: latency.total(),
            median: latency.quantile(50),
            p90: latency.quantile(90),
            p99: latency.quantile(99),
            longest: latency.longest(),
        }
    }
}
