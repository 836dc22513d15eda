//! Counts and latencies by operation.

use std::io::{self, Read};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Observed, ObservedShare};
use crate::control::Request;
use crate::sandbox::{Error, Sandbox};
use crate::store::io_error;

/// More than a monitor can have to say: some 12 KiB for each share.
const MAX_LENGTH: u64 = 16 << 20;

/// What was counted of one share since its machine started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShareStats {
    /// Where the container has it.
    pub target: String,
    /// The operations that occurred; those that took the most time together come first.
    pub operations: Vec<OperationStats>,
}

/// What was counted of one operation. Times are in nanoseconds, from the request's arrival at the monitor to its reply;
/// quantiles are at most 1/8 too long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperationStats {
    /// Its name in the FUSE protocol, in small letters.
    pub operation: String,
    /// How many there were.
    pub count: u64,
    /// How many of them failed. A name that is not there is one only where the client must not remember that.
    pub errors: u64,
    /// Bytes of files that were read or written.
    pub bytes: u64,
    /// All of them together.
    pub total_ns: u64,
    /// Half of them took no longer.
    pub p50_ns: u64,
    /// 90 of 100 took no longer.
    pub p90_ns: u64,
    /// 99 of 100 took no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
}

impl ObservedShare {
    fn stats(&self) -> ShareStats {
        let operations = self.stats.operations().into_iter();
        ShareStats {
            target: self.target.clone(),
            operations: operations
                .map(|operation| OperationStats {
                    operation: operation.name.to_owned(),
                    count: operation.count,
                    errors: operation.errors,
                    bytes: operation.bytes,
                    total_ns: nanoseconds(operation.total),
                    p50_ns: nanoseconds(operation.median),
                    p90_ns: nanoseconds(operation.p90),
                    p99_ns: nanoseconds(operation.p99),
                    max_ns: nanoseconds(operation.longest),
                })
                .collect(),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Observed {
    pub fn stats(&self) -> Vec<ShareStats> {
        self.0.iter().map(|share| share.stats()).collect()
    }
}

impl Sandbox {
    /// What was counted of its shares since its machine started.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the monitor's socket's failure.
    pub fn share_stats(&self) -> Result<Vec<ShareStats>, Error> {
        let monitor = self.ask(Request::Stats)?;
        let told = serde_json::from_reader(io::BufReader::new(monitor.take(MAX_LENGTH)));
        told.map_err(|error| io_error(self.control_socket())(error.into()).into())
    }
}
