//! Process connections as a user of `cenote exec` meets them. Everything is real but the wire: a socket pair stands
//! for vsock. Needs root and busybox or another /bin/sh.

mod host;

use cenote_protocol::{Exited, Refusal, Rlimit};
use host::{Host, Outcome, on_terminal, shell, with_input};

fn code(code: u8) -> Exited {
    Exited::Code(code)
}

#[test]
fn output_and_errors_are_separate_and_the_code_is_the_processs_own() {
    let outcome = Host::exec(shell("echo out; echo err >&2; exit 7")).outcome();
    assert_eq!(
        outcome,
        Outcome {
            stdout: b"out\n".into(),
            stderr: b"err\n".into(),
            exited: code(7)
        }
    );
}

#[test]
fn without_input_and_terminal_the_input_is_empty() {
    let outcome = Host::exec(shell("tty; readlink /proc/self/fd/0; cat; echo end")).outcome();
    assert_eq!(outcome.text(), "not a tty\n/dev/null\nend\n");
}

#[test]
fn with_input_the_process_sees_it_and_its_end() {
    let mut host = Host::exec(with_input(shell(
        "tty; read line; echo got:$line; cat; echo end",
    )));
    host.stdin(b"one\ntwo");
    host.stdin_eof();
    assert_eq!(host.outcome().text(), "not a tty\ngot:one\ntwoend\n");
}

#[test]
fn on_a_terminal_without_input_output_still_comes() {
    let script = "tty | grep -c ^/dev/pts/; stty size; test -t 0 && test -t 1 && test -t 2 && echo all; exit 3";
    let outcome = Host::exec(on_terminal(shell(script))).outcome();
    assert_eq!(
        (outcome.text().as_str(), outcome.exited),
        ("1\r\n24 80\r\nall\r\n", code(3))
    );
    assert!(outcome.stderr.is_empty());
}

#[test]
fn on_a_terminal_the_end_of_input_is_typed() {
    let mut host = Host::exec(with_input(on_terminal(shell(
        "stty -echo; echo ready; cat; echo end",
    ))));
    host.expect("ready\r\n");
    host.stdin(b"one\ntwo");
    host.stdin_eof();
    assert_eq!(host.outcome().text(), "one\r\ntwoend\r\n");
}

#[test]
fn the_end_of_input_does_not_cut_a_terminals_output() {
    let mut host = Host::exec(with_input(on_terminal(shell("cat; seq 1 20000; exit 5"))));
    host.stdin_eof();
    let outcome = host.outcome();
    let expected: String = (1..=20000).map(|n| format!("{n}\r\n")).collect();
    assert_eq!((outcome.text(), outcome.exited), (expected, code(5)));
}

#[test]
fn a_terminal_is_resized() {
    let script = "trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 1; done";
    let mut host = Host::exec(on_terminal(shell(script)));
    host.expect("ready\r\n");
    host.resize(50, 132);
    assert_eq!(host.outcome().text(), "50 132\r\n");
}

#[test]
fn control_c_on_a_terminal_interrupts() {
    let mut host = Host::exec(with_input(on_terminal(shell(
        "echo ready; exec sleep 1000",
    ))));
    host.expect("ready");
    host.stdin(b"\x03");
    assert_eq!(host.outcome().exited, Exited::Signal(libc::SIGINT as u8));
}

#[test]
fn signals_reach_the_process_and_its_death_is_told() {
    let mut host = Host::exec(shell("echo ready; exec sleep 1000"));
    host.expect("ready");
    host.signal(libc::SIGTERM);
    assert_eq!(host.outcome().exited, Exited::Signal(libc::SIGTERM as u8));
}

#[test]
fn a_signal_overtakes_input_that_nobody_reads() {
    let mut host = Host::exec(with_input(shell("echo ready; exec sleep 1000")));
    host.expect("ready");
    for _ in 0..4 {
        host.stdin(&[b'x'; 64 << 10]);
    }
    host.signal(libc::SIGINT);
    assert_eq!(host.outcome().exited, Exited::Signal(libc::SIGINT as u8));
}

#[test]
fn input_beyond_the_window_hangs_up() {
    let mut host = Host::exec(with_input(shell("echo ready; exec sleep 1000")));
    host.expect("ready");
    // Two more chunks than the window holds; one of them may lie in the pipe.
    for _ in 0..6 {
        host.stdin_unchecked(&[b'x'; 64 << 10]);
    }
    let lost = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.outcome()));
    assert!(lost.is_err(), "the connection must end without an exit");
}

#[test]
fn a_hundred_megabytes_pass_both_ways_unchanged() {
    for (size, spec) in [(100 << 20, shell("exec cat")), (0, shell("exec cat"))] {
        // Not a repetition of any power of two, so that a lost or doubled chunk shows.
        let data: Vec<u8> = (0..size).map(|i: usize| (i % 251) as u8).collect();
        let host = Host::exec(with_input(spec));
        host.stdin_all(data.clone());
        let outcome = host.outcome();
        assert!(
            outcome.stdout == data,
            "{} bytes came back of {size}",
            outcome.stdout.len()
        );
        assert_eq!(outcome.exited, code(0));
    }
}

#[test]
fn input_for_a_process_that_closed_it_is_taken_and_dropped() {
    let host = Host::exec(with_input(shell("exec 0<&-; sleep 0.1; echo closed")));
    host.stdin_all(vec![b'x'; 1 << 20]);
    assert_eq!(host.outcome().text(), "closed\n");
}

#[test]
fn all_output_comes_before_the_exit() {
    for _ in 0..50 {
        let outcome = Host::exec(shell("head -c 60000 /dev/zero; echo end >&2")).outcome();
        assert_eq!((outcome.stdout.len(), outcome.stderr.len()), (60000, 4));
    }
}

#[test]
fn a_child_that_keeps_the_pipe_open_does_not_delay_the_exit() {
    let outcome = Host::exec(shell("sleep 1000 & echo $!")).outcome();
    let left_behind: i32 = outcome.text().trim().parse().unwrap();
    // SAFETY: a plain system call; the process is the one that the test left behind.
    assert_eq!(unsafe { libc::kill(left_behind, libc::SIGKILL) }, 0);
}

#[test]
fn a_child_that_writes_without_end_does_not_delay_the_exit() {
    let outcome = Host::exec(shell("yes & echo $!")).outcome();
    let left_behind = outcome
        .text()
        .lines()
        .find_map(|line| line.parse::<i32>().ok())
        .unwrap();
    // It has lost its reader, so it ends by itself.
    // SAFETY: a plain system call on a number; no such process is a good answer.
    while unsafe { libc::kill(left_behind, 0) } == 0 {
        std::thread::yield_now();
    }
    assert_eq!(outcome.exited, code(0));
}

#[test]
fn a_lost_connection_hangs_the_process_up() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("hung-up");
    let path = fifo.display();
    let script = format!(
        "mkfifo {path}; trap 'echo bye > {path}; exit' HUP; echo ready; while :; do sleep 0.05; done"
    );
    let mut host = Host::exec(shell(&script));
    host.expect("ready");
    drop(host);
    assert_eq!(std::fs::read_to_string(&fifo).unwrap(), "bye\n");
}

#[test]
fn a_hundred_terminals_at_once_give_exactly_their_output() {
    for round in 0..5 {
        let hosts: Vec<_> = (0..100)
            .map(|n| Host::exec(on_terminal(shell(&format!("echo {round}-{n}")))))
            .collect();
        for (n, host) in hosts.into_iter().enumerate() {
            assert_eq!(host.outcome().text(), format!("{round}-{n}\r\n"));
        }
    }
}

#[test]
fn programs_that_do_not_run_are_refused_as_podman_does() {
    let refusal = |program: &str| {
        let mut spec = shell("");
        spec.args = vec![program.into()];
        let refused = Host::try_exec(spec).err().unwrap();
        (refused.reason, refused.reason.exit_code(), refused.message)
    };
    let (reason, exit, message) = refusal("no-such-program");
    assert_eq!((reason, exit), (Refusal::NotFound, 127));
    assert_eq!(
        message,
        "executable file \"no-such-program\" not found in $PATH"
    );
    assert_eq!(refusal("/no/such/program").0, Refusal::NotFound);
    assert_eq!(
        (refusal("/etc").0, refusal("/etc").1),
        (Refusal::CannotExecute, 126)
    );
    assert_eq!(refusal("/etc/passwd").0, Refusal::CannotExecute);
}

#[test]
fn users_and_working_directories_that_do_not_exist_are_refused() {
    let mut spec = shell("true");
    spec.user = "ghost".into();
    assert_eq!(Host::try_exec(spec).err().unwrap().reason, Refusal::BadUser);
    let mut spec = shell("true");
    spec.cwd = "/no/such/folder".into();
    let refused = Host::try_exec(spec).err().unwrap();
    assert_eq!(
        (refused.reason, refused.reason.exit_code()),
        (Refusal::BadWorkdir, 126)
    );
}

#[test]
fn a_missing_working_directory_is_made_on_demand() {
    let folder = tempfile::tempdir().unwrap();
    let mut spec = shell("pwd");
    spec.cwd = folder.path().join("a/b").to_str().unwrap().into();
    spec.create_cwd = true;
    assert_eq!(
        Host::exec(spec.clone()).outcome().text().trim_end(),
        spec.cwd
    );
}

#[test]
fn a_process_gets_its_user_limits_and_rights() {
    let mut spec = shell(
        "id -u; id -g; ulimit -n; grep -E 'NoNewPrivs|CapBnd|SigIgn|SigBlk' /proc/self/status",
    );
    spec.user = "4711:4712".into();
    spec.capabilities = cenote_protocol::Capabilities::DEFAULT;
    spec.rlimits = vec![Rlimit {
        resource: libc::RLIMIT_NOFILE,
        soft: 64,
        hard: 128,
    }];
    spec.no_new_privileges = true;
    let expected = "4711\n4712\n64\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n\
                    CapBnd:\t00000000800405fb\nNoNewPrivs:\t1\n";
    assert_eq!(Host::exec(spec).outcome().text(), expected);
}

#[test]
fn a_user_may_open_its_streams_again() {
    let mut spec = with_input(shell(
        "cat /dev/stdin > /dev/stdout; echo err > /dev/stderr",
    ));
    spec.user = "4711".into();
    let mut host = Host::exec(spec);
    host.stdin(b"through");
    host.stdin_eof();
    let outcome = host.outcome();
    assert_eq!(
        (outcome.stdout, outcome.stderr),
        (b"through".into(), b"err\n".into())
    );
}

#[test]
fn no_descriptor_of_the_agent_is_inherited() {
    let outcome = Host::exec(shell("ls /proc/self/fd | tr '\\n' ' '")).outcome();
    // The fourth is the folder that ls reads.
    assert_eq!(outcome.text(), "0 1 2 3 ");
}

#[test]
fn the_reaper_of_init_passes_signals_on_and_ends_as_the_program_does() {
    let mut spec =
        shell("trap 'echo stopped; exit 9' TERM; echo ready; while :; do sleep 0.05; done");
    spec.init = true;
    let mut host = Host::exec(spec);
    host.expect("ready");
    host.signal(libc::SIGTERM);
    let outcome = host.outcome();
    assert_eq!(
        (outcome.text().as_str(), outcome.exited),
        ("stopped\n", code(9))
    );
    let mut spec = shell("kill -KILL $$");
    spec.init = true;
    assert_eq!(Host::exec(spec).outcome().exited, code(128 + 9));
}
