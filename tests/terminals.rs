//! `cenote run` with a person in front of it, or a script that sends signals.

use std::io::{BufRead, BufReader};

use rustix::process::Signal;

use crate::fixture::fake_kernel::{SPIN, install, kernel};
use crate::fixture::{Host, Terminal};

#[test]
fn an_interactive_shell() {
    let host = Host::new();
    let mut terminal = Terminal::start(
        host.command(&["run", "-q", "--rm", "-it", "busybox", "sh"]),
        33,
        77,
    );
    terminal.types("stty size; tty; echo rea''dy\n");
    let screen = terminal.shows("ready");
    assert!(screen.contains("33 77"), "{screen}");
    assert!(screen.contains("/dev/"), "{screen}");
    // Ctrl-C is a key of the container's terminal, not a signal for the program.
    terminal.types("sh -c 'echo sta\"\"rted; exec cat'\n");
    terminal.shows("started");
    terminal.types("\x03");
    // The interrupt throws away what was typed before it, so the next line waits for the prompt.
    terminal.shows("^C\r\n/ #");
    terminal.types("echo code $?\n");
    terminal.shows("code 130");
    terminal.types("exit 5\n");
    let (code, screen, restored) = terminal.finish();
    assert_eq!(code, 5, "{screen}");
    assert!(restored, "the terminal was left raw");
}

#[test]
fn signals_arrive_in_the_container() {
    let host = Host::new();
    let script = "trap 'echo got INT' INT; trap 'echo got TERM; exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut running = host
        .cenote(&["run", "--rm", "-q", "busybox", "sh", "-c", script])
        .start();
    let mut lines = BufReader::new(running.stdout()).lines().map(Result::unwrap);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    running.signal(Signal::INT);
    assert_eq!(lines.next().as_deref(), Some("got INT"));
    running.signal(Signal::TERM);
    assert_eq!(lines.next().as_deref(), Some("got TERM"));
    running.finish().exits(9);
}

#[test]
fn a_signal_during_the_boot_ends_it() {
    let host = Host::new();
    // It boots until it is ended.
    install(&host, "1.0-spin", &kernel(&SPIN));
    let mut running = host
        .cenote(&[
            "run", "--rm", "-q", "--kernel", "1.0-spin", "busybox", "true",
        ])
        .start();
    host.until("starting", &mut running);
    running.signal(Signal::TERM);
    running.finish().exits(143);
    assert!(host.sandboxes().is_empty());
}
