use std::io::Write;
use std::process::Command;

use super::{Failure, Passt, QUOTED, is_answer, open_log, quote, request};
use crate::relay::LENGTH;

#[test]
fn the_end_of_the_log_is_quoted_on_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passt.log");
    std::fs::write(&path, "from an earlier run\n").unwrap();
    let (mut log, start) = open_log(&path).unwrap();
    assert_eq!(quote(&log, start), "nothing");
    log.write_all(b"first\n\n  second \n").unwrap();
    assert_eq!(quote(&log, start), "first; second");
    log.write_all(&vec![b'x'; 10_000]).unwrap();
    assert_eq!(quote(&log, start).len() as u64, QUOTED);
}

#[test]
fn a_program_that_ends_is_told_from_one_that_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let (log, start) = open_log(&folder.path().join("passt.log")).unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo it is broken >&2; exit 3", "passt"]);
    let failure = Passt::start(command, &[], false, &log).unwrap_err();
    assert!(matches!(failure, Failure::Ended), "{failure:?}");
    assert_eq!(quote(&log, start), "it is broken");

    let failure = Passt::start(Command::new("/nonexistent/passt"), &[], false, &log).unwrap_err();
    assert!(
        matches!(&failure, Failure::Spawn(error) if error.kind() == std::io::ErrorKind::NotFound),
        "{failure:?}"
    );
}

#[test]
fn only_an_answer_for_the_gateway_counts() {
    let question = &request()[LENGTH..];
    assert!(!is_answer(question));
    let mut answer = question.to_vec();
    answer[21] = 2;
    answer[28..32].copy_from_slice(&[10, 0, 2, 2]);
    assert!(is_answer(&answer));
    for length in 0..32 {
        assert!(!is_answer(&answer[..length]));
    }
    answer[31] = 3;
    assert!(!is_answer(&answer));
}
