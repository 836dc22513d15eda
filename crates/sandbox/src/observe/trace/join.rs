//! Puts together what host and guest know of a request, and divides its time.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use cenote_fuse::wire::Opcode;
use cenote_protocol::{TraceEvent, TraceStep};

use super::clock::{Clock, Estimate};
use crate::observe::tap::ServedRequest;

/// Requests of which only one side has told. A guest has far fewer under way; beyond that the oldest is given up.
const MOST: usize = 1 << 16;
/// How long one side waits for the other, in nanoseconds.
const PATIENCE: u64 = 2_000_000_000;

/// A request, with what is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedRequest {
    /// The number of its share.
    pub share: usize,
    /// When the first of what is known happened, in nanoseconds of the host's `CLOCK_MONOTONIC`.
    pub at_ns: u64,
    /// The operation; `unknown` if the server does not know it.
    pub operation: &'static str,
    /// What the host knows.
    pub host: Option<HostHalf>,
    /// What the guest knows.
    pub guest: Option<GuestHalf>,
    /// The ways between them, if both are known: they and the halves' parts make up [`GuestHalf::total`].
    pub ways: Option<Ways>,
}

/// What the host knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostHalf {
    /// The node that the operation is on.
    pub node: u64,
    /// The error's number, if it failed.
    pub error: Option<i32>,
    /// Bytes of a file that were read or written.
    pub bytes: u64,
    /// The server's own time, from the request's arrival at the host to its reply.
    pub server: Duration,
    /// The time in system calls on what is shared.
    pub file_system: Duration,
}

/// What the guest knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuestHalf {
    /// From its sending to its reply.
    pub total: Duration,
    /// From its sending until it was read from `/dev/fuse`, where something reads it there.
    pub queue: Option<Duration>,
}

/// The time between guest and host, in which only their clocks tell one way from the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ways {
    /// To the host.
    pub transport: Duration,
    /// Back to whoever waits.
    pub reply: Duration,
    /// How much longer one of them and shorter the other may be.
    pub bound: Duration,
}

/// Requests that are not yet known whole.
#[derive(Debug, Default)]
pub(crate) struct Join {
    halves: HashMap<Key, Half>,
    /// In the order in which they were first told of, with the time of that.
    order: VecDeque<(u64, Key)>,
}

/// The share's number, and the request's.
type Key = (usize, u64);

#[derive(Debug, Clone, Copy, Default)]
struct Half {
    host: Option<ServedRequest>,
    opcode: u32,
    sent: Option<u64>,
    taken: Option<u64>,
    ended: Option<u64>,
}

impl Join {
    /// What the host tells, at the time `now` of its clock; the request, if the guest has told of it whole or never will.
    pub fn host(
        &mut self,
        served: ServedRequest,
        clock: &Clock,
        now: u64,
    ) -> Option<TracedRequest> {
        let key = (served.share, served.unique);
        let half = self.half(key, now);
        half.host = Some(served);
        let alone = Opcode::from_number(served.opcode).is_some_and(is_silent);
        if alone {
            return self.halves.remove(&key).map(|half| half.told(key.0, clock));
        }
        self.whole(key, clock)
    }

    /// What the guest tells of a request on `share`.
    pub fn guest(
        &mut self,
        share: usize,
        event: TraceEvent,
        clock: &Clock,
        now: u64,
    ) -> Option<TracedRequest> {
        let key = (share, event.unique);
        let half = self.half(key, now);
        match event.step {
            TraceStep::Sent => (half.sent, half.opcode) = (Some(event.at_ns), event.opcode),
            TraceStep::Taken => half.taken = Some(event.at_ns),
            TraceStep::Ended => half.ended = Some(event.at_ns),
        }
        self.whole(key, clock)
    }

    /// The next request for whose other half one has waited long enough, or for which there is no room.
    pub fn overdue(&mut self, clock: &Clock, now: u64) -> Option<TracedRequest> {
        while let Some((since, key)) = self.order.front().copied() {
            let waits = self.halves.contains_key(&key);
            if waits && now.saturating_sub(since) < PATIENCE && self.order.len() <= MOST {
                return None;
            }
            self.order.pop_front();
            let told = self.halves.remove(&key).map(|half| half.told(key.0, clock));
            if told.is_some_and(|told| told.host.is_some() || told.guest.is_some()) {
                return told;
            }
        }
        None
    }

    fn half(&mut self, key: Key, now: u64) -> &mut Half {
        if !self.halves.contains_key(&key) {
            self.order.push_back((now, key));
        }
        self.halves.entry(key).or_default()
    }

    fn whole(&mut self, key: Key, clock: &Clock) -> Option<TracedRequest> {
        let half = self.halves.get(&key)?;
        if half.host.is_none() || half.sent.is_none() || half.ended.is_none() {
            return None;
        }
        self.halves.remove(&key).map(|half| half.told(key.0, clock))
    }
}

/// Whether nobody waits for an answer: the guest's kernel does not tell of such requests.
fn is_silent(opcode: Opcode) -> bool {
    matches!(
        opcode,
        Opcode::Forget | Opcode::BatchForget | Opcode::Interrupt
    )
}

impl Half {
    fn told(self, share: usize, clock: &Clock) -> TracedRequest {
        let opcode = self.host.map_or(self.opcode, |host| host.opcode);
        let mut told = TracedRequest {
            share,
            at_ns: 0,
            operation: Opcode::from_number(opcode).map_or("unknown", Opcode::name),
            host: self.host.map(|host| half_of(&host)),
            guest: None,
            ways: None,
        };
        let span = self
            .host
            .map_or(0, |host| host.done_ns.saturating_sub(host.arrived_ns));
        if let (Some(sent), Some(ended)) = (self.sent, self.ended) {
            // The guest's kernel tells microseconds: a short request can seem shorter than the host's part of it.
            let total = ended.saturating_sub(sent).max(span);
            let queue = self
                .taken
                .map(|taken| taken.saturating_sub(sent).min(total - span));
            told.guest = Some(GuestHalf {
                total: Duration::from_nanos(total),
                queue: queue.map(Duration::from_nanos),
            });
            if let Some((host, estimate)) = self
                .host
                .and_then(|host| Some((host, clock.at(host.arrived_ns)?)))
            {
                let left = total - span - queue.unwrap_or(0);
                let left_queue = sent.saturating_add(queue.unwrap_or(0));
                told.ways = Some(ways(left, left_queue, host.arrived_ns, estimate));
            }
        }
        told.at_ns = match (self.host, self.sent) {
            (Some(host), _) => host
                .arrived_ns
                .saturating_sub(told.ways.map_or(0, |ways| ways.transport.as_nanos() as u64)),
            (None, Some(sent)) => clock.at(sent).map_or(0, |estimate| ours(sent, estimate)),
            (None, None) => 0,
        };
        told
    }
}

fn half_of(host: &ServedRequest) -> HostHalf {
    let span = host.done_ns.saturating_sub(host.arrived_ns);
    let file_system = host.file_system_ns.min(span);
    HostHalf {
        node: host.node,
        error: host.error,
        bytes: host.bytes,
        server: Duration::from_nanos(span - file_system),
        file_system: Duration::from_nanos(file_system),
    }
}

/// Divides `left`, the time that a request was on its ways: it began the first one at `begun` of the guest's clock, and ended it at
/// `arrived` of ours. Neither way can have taken less than no time.
fn ways(left: u64, begun: u64, arrived: u64, estimate: Estimate) -> Ways {
    let transport = i128::from(arrived) + i128::from(estimate.offset) - i128::from(begun);
    let transport = transport.clamp(0, i128::from(left)) as u64;
    Ways {
        transport: Duration::from_nanos(transport),
        reply: Duration::from_nanos(left - transport),
        bound: Duration::from_nanos(estimate.bound.min(left)),
    }
}

/// A moment of the guest's clock by ours.
fn ours(guest: u64, estimate: Estimate) -> u64 {
    u64::try_from(i128::from(guest) - i128::from(estimate.offset)).unwrap_or(0)
}

#[cfg(test)]
#[path = "join_test.rs"]
mod tests;
