//! `cenote exec`: commands in a running container and in its machine.

use std::thread;

use crate::fixture::{Host, Terminal};

/// Sessions at a time, rounds of them.
const PARALLEL: usize = 100;
const ROUNDS: usize = 5;

#[test]
fn a_working_day_in_one_container() {
    let host = Host::new();
    let name = host.detached(&["-e", "GIVEN=run", "-w", "/tmp", "-u", "1000"]);
    let exec = |arguments: &[&str]| host.run(&[&["exec"], arguments].concat());

    // What the container gives, and what flags change.
    exec(&[&name, "sh", "-c", "echo $GIVEN $PWD $(id -u)"])
        .succeeds()
        .prints("run /tmp 1000");
    let changed = [
        "-e",
        "GIVEN=exec",
        "-w",
        "/",
        "-u",
        "0",
        &name,
        "sh",
        "-c",
        "echo $GIVEN $PWD $(id -u)",
    ];
    exec(&changed).succeeds().prints("exec / 0");

    // Exit codes.
    exec(&[&name, "sh", "-c", "exit 42"]).exits(42);
    exec(&[&name, "sh", "-c", "kill -9 $$"]).exits(137);
    exec(&[&name, "/etc/passwd"]).exits(126);
    exec(&[&name, "no-such-program"]).exits(127);
    exec(&["-w", "/no/such/folder", &name, "true"]).exits(126);
    exec(&["-u", "nobody-here", &name, "true"]).exits(125);

    // Flags behind the container's name are the command's.
    exec(&[&name, "echo", "-e", "-t", "--vm"])
        .succeeds()
        .prints("-t --vm");

    // The four ways to attach, in the container and in the machine.
    for place in [&[][..], &["--vm"]] {
        ways_to_attach(&host, &name, place);
    }

    // The machine is another place than the container: it sees the container's processes under other numbers.
    exec(&[&name, "cat", "/proc/1/comm"])
        .succeeds()
        .prints("sleep");
    let machine = exec(&["--vm", &name, "cat", "/proc/1/comm"]).succeeds();
    assert_ne!(machine.stdout(), "sleep");
    exec(&["--vm", &name, "id", "-u"]).succeeds().prints("0");

    // Detached: it goes on without us.
    exec(&[
        "-d",
        &name,
        "sh",
        "-c",
        "echo done > /tmp/detached; exec sleep 1000",
    ])
    .succeeds();
    let wait = "until [ -s /tmp/detached ]; do sleep 0.1; done; cat /tmp/detached";
    exec(&[&name, "sh", "-c", wait]).succeeds().prints("done");
}

fn ways_to_attach(host: &Host, name: &str, place: &[&str]) {
    let exec = |flags: &[&str], command: &[&str]| {
        host.cenote(&[&["exec"], place, flags, &[name], command].concat())
    };
    let script = "tty >/dev/null && echo terminal || echo none; cat";

    // Neither: no terminal, and input ends at once.
    exec(&[], &["sh", "-c", script])
        .input("unseen")
        .run()
        .succeeds()
        .prints("none");
    // -i: no terminal; input arrives, and so does its end.
    exec(&["-i"], &["sh", "-c", script])
        .input("typed")
        .run()
        .succeeds()
        .prints("none\ntyped");
    // -t: a terminal on which nobody types. Its lines end as a terminal's do.
    let shown = exec(&["-t"], &["sh", "-c", "tty >/dev/null && echo terminal"])
        .run()
        .succeeds();
    assert_eq!(shown.bytes(), b"terminal\r\n");
    // -it on a person's terminal: size, resize, echo by the other side only, end of input by Ctrl-D.
    let script = "stty size; trap 'stty size; echo resized; over=1' WINCH; echo ready
        while [ -z \"$over\" ]; do sleep 0.1; done; cat; echo ended; exit 3";
    let arguments = [&["exec"], place, &["-it", name, "sh", "-c", script]].concat();
    let mut terminal = Terminal::start(host.command(&arguments), 40, 100);
    assert!(
        terminal.shows("ready").contains("40 100"),
        "the window's size did not arrive"
    );
    assert!(!terminal.echoes(), "the caller's terminal is not raw");
    terminal.resize(50, 120);
    assert!(
        terminal.shows("resized").contains("50 120"),
        "the window's new size did not arrive"
    );
    terminal.types("typed\n");
    terminal.shows("typed\r\ntyped");
    terminal.types("\x04");
    let (code, screen, restored) = terminal.finish();
    assert_eq!(code, 3, "{screen}");
    assert!(restored, "the terminal was left raw");
}

#[test]
fn a_hundred_at_once_do_not_mix() {
    let host = Host::new();
    let name = host.detached(&[]);
    for round in 0..ROUNDS {
        let one = |number: usize| {
            let word = format!("round-{round}-number-{number}");
            let outcome = host.run(&["exec", "-t", &name, "echo", &word]).succeeds();
            assert_eq!(
                outcome.bytes(),
                format!("{word}\r\n").as_bytes(),
                "{}",
                outcome.all()
            );
        };
        thread::scope(|scope| {
            for number in 0..PARALLEL {
                scope.spawn(move || one(number));
            }
        });
    }
}

#[test]
fn a_hundred_megabytes_go_both_ways() {
    let host = Host::new();
    let name = host.detached(&[]);
    // Every eight bytes differ from all others, so that lost, doubled or swapped pieces show.
    let sent: Vec<u8> = (0..100_000_000_u64 / 8)
        .flat_map(u64::to_le_bytes)
        .collect();
    let outcome = host
        .cenote(&["exec", "-i", &name, "cat"])
        .input(sent.clone())
        .run()
        .succeeds();
    assert!(
        outcome.bytes() == sent,
        "{} bytes came back, not the {} that were sent",
        outcome.bytes().len(),
        sent.len()
    );
}
