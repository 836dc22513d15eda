use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use super::Control;

/// A QEMU that greets and then gives these answers, one for each command; answers the commands that it got.
fn qemu(answers: &'static [&'static str]) -> (Control, JoinHandle<Vec<String>>) {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let qemu = thread::spawn(move || {
        let mut lines = BufReader::new(theirs.try_clone().unwrap()).lines();
        theirs
            .write_all(b"{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n")
            .unwrap();
        let mut commands = Vec::new();
        for answer in answers {
            commands.push(lines.next().unwrap().unwrap());
            theirs.write_all(answer.as_bytes()).unwrap();
        }
        commands
    });
    (Control::new(ours).unwrap(), qemu)
}

#[test]
fn commands_follow_the_greeting_and_events_are_passed_over() {
    let (control, qemu) = qemu(&[
        "{\"return\": {}}\r\n",
        "{\"event\": \"STOP\", \"timestamp\": {}}\r\n{\"return\": {}}\r\n",
        "{\"return\": {}}\r\n",
    ]);
    control.execute("stop").unwrap();
    control.execute("cont").unwrap();
    assert_eq!(
        qemu.join().unwrap(),
        [
            r#"{"execute":"qmp_capabilities"}"#,
            r#"{"execute":"stop"}"#,
            r#"{"execute":"cont"}"#
        ]
    );
}

#[test]
fn a_refusal_is_told_in_qemus_words() {
    let (control, qemu) = qemu(&[
        "{\"return\": {}}\n",
        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"not now\"}}\n",
    ]);
    assert_eq!(control.execute("stop").unwrap_err().to_string(), "not now");
    qemu.join().unwrap();
}

#[test]
fn an_end_a_line_without_end_and_what_is_no_json_are_failures() {
    let (control, qemu) = qemu(&["{\"return\": {}}\n"]);
    assert!(control.execute("stop").is_err());
    qemu.join().unwrap();

    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let control = Control::new(ours).unwrap();
    let flood = thread::spawn(move || theirs.write_all(&[b'x'; 32 << 10]));
    assert!(control.execute("stop").is_err());
    drop(control);
    // It may have been written whole before the end came.
    let _ = flood.join().unwrap();
}

#[test]
fn the_last_event_tells_a_reset_from_an_ordinary_end() {
    for (said, reset) in [
        ("", false),
        (
            r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-shutdown"}}"#,
            false,
        ),
        (
            r#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#,
            true,
        ),
        (r#"{"event": "SHUTDOWN", "data": {}}"#, false),
        (
            r#"{"event": "RESET", "data": {"reason": "guest-reset"}}"#,
            false,
        ),
    ] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let control = Control::new(ours).unwrap();
        writeln!(theirs, "{{\"QMP\": {{}}}}\n{{\"return\": {{}}}}\n{said}").unwrap();
        drop(theirs);
        assert_eq!(control.was_reset(), reset, "{said}");
    }
}
