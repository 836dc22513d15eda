use std::fs;
use std::process::Command;

use cenote_debian::Lock;

use super::{Log, MAX_LINE, MAX_LOG, TAIL};
use crate::build::Error;

/// Runs a shell script as a step; gives its outcome, the lines that were told and the log.
fn run(script: &str) -> (Result<(), Error>, Vec<String>, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let lock = Lock::take(folder.path()).unwrap();
    let path = folder.path().join("log");
    let mut lines = Vec::new();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]);
    let outcome = Log::new(&path, &lock)
        .unwrap()
        .run(shell, "the script", |line| lines.push(line.to_owned()));
    (outcome, lines, fs::read(&path).unwrap())
}

#[test]
fn both_outputs_are_logged_and_told() {
    let (outcome, lines, log) = run("echo one; echo two >&2");
    outcome.unwrap();
    assert_eq!(lines, ["one", "two"]);
    assert_eq!(log, b"one\ntwo\n");
}

#[test]
fn a_failure_names_the_log_and_shows_the_last_lines() {
    let (outcome, _, _) = run("seq 100; printf 'no end'; exit 3");
    let error = outcome.unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with("the script failed (exit status: 3); its log is /"),
        "{text}"
    );
    let tail: Vec<&str> = text.lines().skip(1).collect();
    assert_eq!(tail.len(), TAIL);
    assert_eq!(tail[TAIL - 2..], ["100", "no end"]);
}

#[test]
fn a_long_line_is_cut_and_the_rest_of_it_is_no_line() {
    let (_, lines, _) = run("head -c 100000 /dev/zero | tr '\\0' x; echo; echo next");
    assert_eq!(lines, ["x".repeat(MAX_LINE), "next".to_owned()]);
}

#[test]
fn the_log_has_an_end() {
    let (outcome, _, log) = run(&format!("head -c {} /dev/zero", MAX_LOG + 1000));
    outcome.unwrap();
    assert_eq!(log.len() as u64, MAX_LOG);
}

#[test]
fn what_still_runs_keeps_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock = Lock::take(folder.path()).unwrap();
    let mut left = Command::new("/bin/sleep")
        .arg("1000")
        .stdin(lock.shared().unwrap())
        .spawn()
        .unwrap();
    drop(lock);
    assert!(Lock::try_take(folder.path()).unwrap().is_none());
    left.kill().unwrap();
    left.wait().unwrap();
    assert!(Lock::try_take(folder.path()).unwrap().is_some());
}
