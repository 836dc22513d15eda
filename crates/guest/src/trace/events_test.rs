use super::*;

const TEXT: &str = "\
##### CPU 1 buffer started ####
           touch-71      [001] .....    12.345678: fuse_request_send: connection 45 req 12 opcode 1 (FUSE_LOOKUP) len 48 
           touch-71      [001] .....    12.345690: fuse_request_sent: connection 45 req 12 opcode 1 (FUSE_LOOKUP)
CPU:0 [LOST 17 EVENTS]
     kworker/1:1-25      [001] .....    13.000001: fuse_request_end: connection 45 req 12 len 16 error -2
";

fn event(step: TraceStep, at_ns: u64) -> TraceEvent {
    TraceEvent {
        connection: 45,
        unique: 12,
        opcode: if step == TraceStep::Ended { 0 } else { 1 },
        step,
        at_ns,
    }
}

fn expected() -> TraceEvents {
    TraceEvents {
        events: vec![
            event(TraceStep::Sent, 12_345_678_000),
            event(TraceStep::Taken, 12_345_690_000),
            event(TraceStep::Ended, 13_000_001_000),
        ],
        lost: 17,
    }
}

#[test]
fn events_are_read_and_lost_ones_counted() {
    assert_eq!(Events::default().parse(TEXT.as_bytes()), expected());
}

#[test]
fn pieces_of_any_length_are_put_together() {
    for length in 1..80 {
        let mut events = Events::default();
        let mut all = TraceEvents::default();
        for piece in TEXT.as_bytes().chunks(length) {
            let TraceEvents { events, lost } = events.parse(piece);
            all.events.extend(events);
            all.lost += lost;
        }
        assert_eq!(all, expected());
    }
}

#[test]
fn a_name_that_looks_like_an_event_deceives_nobody() {
    let line = " 1.000000: fuse_request_end: connection 1 req 2-71 [001] .....    12.345678: fuse_request_send: connection 45 req 12 opcode 1 (FUSE_LOOKUP) len 48 \n";
    let events = Events::default().parse(line.as_bytes()).events;
    assert_eq!(events, [event(TraceStep::Sent, 12_345_678_000)]);
}

#[test]
fn other_lines_are_no_events() {
    let good =
        "x-1 [001] ..... 12.345678: fuse_request_end: connection 45 req 12 len 16 error -2\n";
    assert_eq!(Events::default().parse(good.as_bytes()).events.len(), 1);
    for (from, to) in [
        ("12.345678", "12.34567"),
        ("12.345678", "99999999999999.345678"),
        ("request_end", "request_done"),
        ("connection 45", "connection 4294967296"),
        ("connection 45", "link 45"),
        ("req 12", "req x"),
        (" req 12 len 16 error -2", ""),
    ] {
        let bad = good.replace(from, to);
        assert_eq!(Events::default().parse(bad.as_bytes()).events, [], "{bad}");
    }
}
