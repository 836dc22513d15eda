//! The kernel's events as text, such as
//!
//! ```text
//!   sh-71  [000] .....    12.345678: fuse_request_send: connection 45 req 12 opcode 1 (FUSE_LOOKUP) len 48
//! ```
//!
//! What stands in front of the time is the process's name, which it chooses itself: lines are taken apart from behind it.

use cenote_protocol::{TraceEvent, TraceEvents, TraceStep};

/// What is before an event's name.
const MARK: &str = ": fuse_request_";
/// A line that is longer has no meaning.
const LONGEST: usize = 4096;

/// Reads the text as it comes, in pieces of any length.
#[derive(Debug, Default)]
pub struct Events {
    /// The beginning of a line.
    rest: Vec<u8>,
}

impl Events {
    /// The events in the lines that `text` completes.
    pub fn parse(&mut self, text: &[u8]) -> TraceEvents {
        let mut found = TraceEvents::default();
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.rest.len() > LONGEST {
                let line = String::from_utf8_lossy(&self.rest);
                if let Some(event) = event(&line) {
                    found.events.push(event);
                } else if let Some(lost) = lost(&line) {
                    found.lost = found.lost.saturating_add(lost);
                }
                self.rest.clear();
            }
        }
        found
    }
}

fn event(line: &str) -> Option<TraceEvent> {
    let (before, event) = line.rsplit_once(MARK)?;
    let at_ns = nanoseconds(before.split_whitespace().next_back()?)?;
    let (name, fields) = event.split_once(": ")?;
    let step = match name {
        "send" => TraceStep::Sent,
        "sent" => TraceStep::Taken,
        "end" => TraceStep::Ended,
        _ => return None,
    };
    let mut words = fields.split_whitespace();
    let mut field = |name| {
        words
            .next()
            .filter(|word| *word == name)
            .and_then(|_| words.next())
    };
    Some(TraceEvent {
        connection: field("connection")?.parse().ok()?,
        unique: field("req")?.parse().ok()?,
        opcode: field("opcode").map_or(Some(0), |opcode| opcode.parse().ok())?,
        step,
        at_ns,
    })
}

/// `CPU:0 [LOST 12 EVENTS]`
fn lost(line: &str) -> Option<u64> {
    let (_, number) = line.strip_prefix("CPU:")?.split_once("[LOST ")?;
    number.split_once(' ')?.0.parse().ok()
}

/// Seconds with six digits behind the point.
fn nanoseconds(time: &str) -> Option<u64> {
    let (seconds, micros) = time.split_once('.')?;
    let micros = (micros.len() == 6).then(|| micros.parse::<u64>().ok())??;
    let seconds = seconds.parse::<u64>().ok()?.checked_mul(1_000_000_000)?;
    seconds.checked_add(micros * 1000)
}

#[cfg(test)]
#[path = "events_test.rs"]
mod tests;
