//! What the servers of a sandbox's shares do, for whoever asks the monitor.

mod stats;
mod tap;
mod trace;

use std::sync::Arc;

use cenote_fuse::server::{Observer, Served};
use cenote_fuse::stats::Stats;

use tap::Taps;

pub use stats::{OperationStats, ShareStats};
pub use trace::{GuestHalf, HostHalf, Told, TraceError, TracedRequest, Ways};

/// A share, watched.
#[derive(Debug)]
pub(crate) struct ObservedShare {
    /// Where the container has it.
    target: String,
    /// What the guest mounts there, if it is on a device.
    tag: String,
    stats: Stats,
    taps: Taps,
}

impl ObservedShare {
    pub fn new(target: String, tag: String) -> Self {
        Self {
            target,
            tag,
            stats: Stats::default(),
            taps: Taps::default(),
        }
    }
}

impl Observer for ObservedShare {
    fn served(&self, served: &Served) {
        self.stats.count(served);
        self.taps.tell(served);
    }

    fn traces(&self, unique: u64) -> bool {
        self.taps.want(unique)
    }
}

/// All shares of a sandbox.
#[derive(Debug, Clone)]
pub(crate) struct Observed(Arc<[Arc<ObservedShare>]>);

impl From<Vec<Arc<ObservedShare>>> for Observed {
    fn from(shares: Vec<Arc<ObservedShare>>) -> Self {
        Self(shares.into())
    }
}
