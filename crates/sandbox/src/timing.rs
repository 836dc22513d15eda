//! Where the time of one run goes.

use std::time::{Duration, Instant};

use cenote_protocol::BootTimes;

/// Moments of a run, as far as it got.
#[derive(Debug, Clone)]
pub struct Timing {
    begun: Instant,
    pub(crate) launched: Option<Instant>,
    pub(crate) called: Option<Instant>,
    pub(crate) ready: Option<Instant>,
    pub(crate) exited: Option<Instant>,
    pub(crate) ended: Option<Instant>,
    pub(crate) guest: Option<BootTimes>,
}

impl Timing {
    pub(crate) fn begin() -> Self {
        Self {
            begun: Instant::now(),
            launched: None,
            called: None,
            ready: None,
            exited: None,
            ended: None,
            guest: None,
        }
    }

    /// The phases in order, each with its length: `start` (until the machine's process runs), `kernel` (until the agent
    /// runs), `agent` (until the container's surroundings stand), `container` (its process, from request to exit) and
    /// `exit` (until nothing is left). A phase that was not reached is left out.
    pub fn phases(&self) -> Vec<(&'static str, Duration)> {
        let agent_began = self.called.zip(self.guest).map(|(called, guest)| {
            let working = Duration::from_nanos(guest.connected.saturating_sub(guest.started));
            called.checked_sub(working).unwrap_or(called)
        });
        let moments = [
            ("start", self.launched),
            ("kernel", agent_began.or(self.called)),
            ("agent", self.ready),
            ("container", self.exited),
            ("exit", self.ended),
        ];
        let mut since = self.begun;
        let mut phases = Vec::new();
        for (name, moment) in moments {
            let Some(moment) = moment else { continue };
            phases.push((name, moment.saturating_duration_since(since)));
            since = moment;
        }
        phases
    }
}
