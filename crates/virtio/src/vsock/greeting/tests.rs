use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::*;

/// What is read when a client sends `line` and, if it does not `stay`, hangs up.
fn greet(line: &[u8], stay: bool) -> (Greeting, UnixStream) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(line).unwrap();
    let greeting = if stay {
        let greeting = read(&ours);
        drop(theirs);
        greeting
    } else {
        drop(theirs);
        read(&ours)
    };
    (greeting, ours)
}

#[test]
fn exactly_the_line_is_taken() {
    let (greeting, mut stream) = greet(b"CONNECT 1025\npayload\n", true);
    assert_eq!(greeting, Greeting::Port(1025));
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "payload\n");
}

#[test]
fn ports_are_32_bits() {
    assert_eq!(greet(b"CONNECT 0\n", true).0, Greeting::Port(0));
    assert_eq!(
        greet(b"CONNECT 4294967295\n", true).0,
        Greeting::Port(u32::MAX)
    );
    assert_eq!(greet(b"CONNECT 4294967296\n", true).0, Greeting::Invalid);
}

#[test]
fn a_line_may_come_in_pieces() {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    for piece in ["CONN", "ECT 1", "2"] {
        theirs.write_all(piece.as_bytes()).unwrap();
        assert_eq!(read(&ours), Greeting::Incomplete);
    }
    theirs.write_all(b"\n").unwrap();
    assert_eq!(read(&ours), Greeting::Port(12));
}

#[test]
fn anything_else_is_invalid() {
    let lines: [&[u8]; 9] = [
        b"\n",
        b"CONNECT\n",
        b"CONNECT \n",
        b"CONNECT +1\n",
        b"CONNECT -1\n",
        b"CONNECT 1 \n",
        b"connect 1\n",
        b"CONNECT 1\r\n",
        b"GET / HTTP/1.1 and no newline here",
    ];
    for line in lines {
        assert_eq!(
            greet(line, true).0,
            Greeting::Invalid,
            "{:?}",
            String::from_utf8_lossy(line)
        );
    }
}

#[test]
fn a_client_that_says_nothing_and_hangs_up_is_invalid() {
    assert_eq!(greet(b"", false).0, Greeting::Invalid);
    assert_eq!(greet(b"", true).0, Greeting::Incomplete);
}

proptest! {
    #[test]
    fn no_line_is_misread(line in prop::collection::vec(any::<u8>(), 0..40)) {
        let greeting = greet(&line, true).0;
        let text = line.split(|b| *b == b'\n').next().filter(|l| l.len() < line.len() && l.len() < MAX_LINE);
        let port = text.and_then(|l| str::from_utf8(l).ok()?.strip_prefix("CONNECT ")?.parse().ok());
        match greeting {
            Greeting::Port(p) => prop_assert_eq!(Some(p), port),
            Greeting::Incomplete => prop_assert!(text.is_none()),
            Greeting::Invalid => {}
        }
    }
}
