use super::*;

#[test]
fn names_and_numbers() {
    for (text, number) in [
        ("TERM", 15),
        ("SIGTERM", 15),
        ("sigkill", 9),
        ("9", 9),
        ("WINCH", 28),
        ("POLL", 29),
        ("RTMIN", 34),
        ("SIGRTMIN+3", 37),
        ("RTMAX-1", 63),
        ("64", 64),
    ] {
        assert_eq!(text.parse(), Ok(Signal(number)), "{text}");
    }
}

#[test]
fn what_is_no_signal() {
    for text in [
        "",
        "SIG",
        "0",
        "65",
        "-9",
        "+9",
        "TERMINATE",
        "RTMIN+31",
        "RTMIN--1",
        "RTMAX-31",
        "RTMIN+",
    ] {
        assert_eq!(
            text.parse::<Signal>(),
            Err(BadSignal(text.to_owned())),
            "{text}"
        );
    }
}
