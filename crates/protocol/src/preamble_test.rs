use std::os::unix::net::UnixStream;
use std::thread;

use super::*;

#[test]
fn two_ends_of_one_version_agree() {
    let (mut host, mut guest) = UnixStream::pair().unwrap();
    let agent = thread::spawn(move || handshake(&mut guest, Side::Guest));
    handshake(&mut host, Side::Host).unwrap();
    agent.join().unwrap().unwrap();
}

#[test]
fn an_agent_of_another_version_is_told_to_both_sides() {
    let (mut host, mut guest) = UnixStream::pair().unwrap();
    guest.write_all(&preamble_of(VERSION + 1)).unwrap();
    let error = handshake(&mut host, Side::Host).unwrap_err();
    assert!(matches!(error, HandshakeError::OtherAgent { theirs } if theirs == VERSION + 1));
    assert_eq!(
        error.to_string(),
        format!(
            "the guest agent speaks protocol {}, this cenote speaks {VERSION}: the agent comes from another release; \
             remove the cached initramfs or build cenote again",
            VERSION + 1
        )
    );
    // The host had already sent its own preamble, so the agent can tell the same story on the console.
    let mut seen = [0; PREAMBLE_LEN];
    guest.read_exact(&mut seen).unwrap();
    assert_eq!(seen, preamble());
    assert!(matches!(
        judge(preamble_of(7), Side::Guest),
        Err(HandshakeError::OtherHost { theirs: 7 })
    ));
}

#[test]
fn a_stranger_on_the_port_is_named() {
    let error = judge(*b"HTTP/1.1", Side::Host).unwrap_err();
    assert!(matches!(error, HandshakeError::NotCenote(bytes) if &bytes == b"HTTP/1.1"));
}

#[test]
fn an_end_within_the_preamble_is_an_io_error() {
    let (mut host, mut guest) = UnixStream::pair().unwrap();
    guest.write_all(b"CNTE\x01").unwrap();
    drop(guest);
    let error = handshake(&mut host, Side::Host).unwrap_err();
    assert!(matches!(error, HandshakeError::Io(e) if e.kind() == io::ErrorKind::UnexpectedEof));
}
