use cenote_sandbox::observe::{GuestHalf, HostHalf, Ways};

use super::*;

fn whole() -> TracedRequest {
    TracedRequest {
        share: 0,
        at_ns: 5_000_000_000,
        operation: "read",
        host: Some(HostHalf {
            node: 7,
            error: None,
            bytes: 4096,
            server: Duration::from_nanos(4_250),
            file_system: Duration::from_micros(9),
        }),
        guest: Some(GuestHalf {
            total: Duration::from_micros(40),
            queue: None,
        }),
        ways: Some(Ways {
            transport: Duration::from_micros(11),
            reply: Duration::from_nanos(15_750),
            bound: Duration::from_micros(6),
        }),
    }
}

fn printer() -> Printer {
    Printer {
        targets: vec!["/data".into()],
        begin: Some(4_000_000_000),
    }
}

#[test]
fn a_request_is_a_line_with_its_parts() {
    assert_eq!(
        printer().line(&whole()),
        "1.000000 /data read node=7 total=40.0 transport=11.0 server=4.2 file-system=9.0 reply=15.8 clock+-6.0 bytes=4096"
    );
}

#[test]
fn the_first_request_is_at_zero_and_others_may_be_before_it() {
    let mut printer = Printer::default();
    assert!(printer.line(&whole()).starts_with("0.000000 - read"));
    let earlier = TracedRequest {
        at_ns: 4_999_999_000,
        ..whole()
    };
    assert!(printer.line(&earlier).starts_with("-0.000001 "));
}

#[test]
fn what_one_side_did_not_tell_is_left_out_and_said() {
    let mut request = whole();
    (request.guest, request.ways) = (None, None);
    request.host.as_mut().unwrap().error = Some(2);
    assert_eq!(
        printer().line(&request),
        "1.000000 /data read node=7 server=4.2 file-system=9.0 bytes=4096 errno=2 (the guest's half was not told)"
    );
    let request = TracedRequest {
        host: None,
        ways: None,
        ..whole()
    };
    assert_eq!(
        printer().line(&request),
        "1.000000 /data read total=40.0 (the host's half was not told)"
    );
}

#[test]
fn the_head_says_how_well_the_clock_is_known_or_why_not() {
    assert_eq!(
        head("web", 10, Ok(Duration::from_nanos(12_340))),
        "# web: one in 10 requests; times in µs; the guest's clock is known to +-12.3"
    );
    assert_eq!(
        head("web", 1, Err("no tracefs".into())),
        "# web: one in 1 requests; times in µs; only what the host knows: no tracefs"
    );
}
