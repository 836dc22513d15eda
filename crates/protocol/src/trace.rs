//! A trace connection: when the guest's kernel sent requests on shares and got their replies, and what its clock says.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// Host to agent, first on a trace connection: requests on shares are to be told of, until the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceRequest {
    /// One in so many requests is wanted, by [`is_traced`]; at least 1.
    pub rate: u32,
}

/// Agent to host, the answer: requests are being traced. [`crate::Refused`] says that the guest's kernel cannot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tracing {
    /// The container's FUSE mounts.
    pub mounts: Vec<TracedMount>,
}

/// One FUSE mount of the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedMount {
    /// Its number in [`TraceEvent`].
    pub connection: u32,
    /// What is mounted: the tag of a virtio-fs device.
    pub source: String,
    /// Where the container has it.
    pub target: String,
}

/// Agent to host: what has happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvents {
    /// In the order in which the kernel tells of them.
    pub events: Vec<TraceEvent>,
    /// How many more there were that nobody can tell of, because they came too fast.
    pub lost: u64,
}

/// A step in a request's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEvent {
    /// The mount.
    pub connection: u32,
    /// The request's number in the FUSE protocol.
    pub unique: u64,
    /// Its operation's number there; 0 if the event does not say it.
    pub opcode: u32,
    /// What happened.
    pub step: TraceStep,
    /// When, in nanoseconds of the guest's `CLOCK_MONOTONIC`.
    pub at_ns: u64,
}

/// What happened to a request in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TraceStep {
    /// It was sent: it is in a queue of the device, or waits for whoever reads `/dev/fuse`.
    Sent,
    /// It was read from `/dev/fuse`.
    Taken,
    /// Its reply is there.
    Ended,
}

/// Host to agent: what does your clock say?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockProbe {
    /// Comes back with the answer.
    pub number: u32,
}

/// Agent to host, the answer to [`ClockProbe`], in nanoseconds of the guest's `CLOCK_MONOTONIC`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockReading {
    /// That of the question.
    pub number: u32,
    /// When the question came.
    pub received_ns: u64,
    /// When the answer went.
    pub sent_ns: u64,
}

/// Whether the request with this number is among one in `rate`, on either side. Clients count requests in steps of two.
pub fn is_traced(unique: u64, rate: u32) -> bool {
    (unique >> 1).is_multiple_of(u64::from(rate.max(1)))
}

impl Message for TraceRequest {
    const KIND: Kind = Kind::TraceRequest;
}

impl Message for Tracing {
    const KIND: Kind = Kind::Tracing;
}

impl Message for TraceEvents {
    const KIND: Kind = Kind::TraceEvents;
}

impl Message for ClockProbe {
    const KIND: Kind = Kind::ClockProbe;
}

impl Message for ClockReading {
    const KIND: Kind = Kind::ClockReading;
}
