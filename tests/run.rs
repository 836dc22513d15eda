//! `cenote run`: a container is what its flags and its image say, and ends with its exit code.

use crate::fixture::{Host, vmm};

#[test]
fn the_first_command_of_the_readme() {
    let host = Host::new();
    let boot_id = "/proc/sys/kernel/random/boot_id";
    let script = format!("uname -sr; cat {boot_id}");
    let outcome = host
        .run(&["run", "--rm", "busybox", "sh", "-c", &script])
        .succeeds();
    assert!(
        outcome.stdout().starts_with("Linux 7."),
        "{}",
        outcome.all()
    );
    // The kernel is another one than the host's, even where that is of the same release.
    let hosts = std::fs::read_to_string(boot_id).unwrap();
    assert_ne!(outcome.stdout().lines().nth(1), Some(hosts.trim()));
    assert!(host.sandboxes().is_empty(), "--rm left a container behind");
}

#[test]
fn flags_make_the_container() {
    let host = Host::new();
    let file = host.file("variables", "FILE=from a file\nBOTH=file\n");
    let script = r#"
        id -u; id -g; pwd; hostname; echo "$FLAG|$FILE|$BOTH|$PASSED|$PREFIX_A|$container"
        nproc; touch /new 2>/dev/null || echo read-only; touch /scratch/new /tmp/new && echo scratch
        grep -c . /proc/mounts >/dev/null && df -m /scratch | tail -n 1 | awk '{print $2}'
        echo to-stderr >&2; cat; exit 7"#;
    let arguments = [
        "run",
        "--rm",
        "-q",
        "-i",
        "-u",
        "1000:1001",
        "-w",
        "/tmp",
        "--hostname",
        "here",
        "-e",
        "FLAG=flag",
        "-e",
        "BOTH=flag",
        "-e",
        "PASSED",
        "-e",
        "PREFIX_*",
        "--env-file",
        file.to_str().unwrap(),
        "--cpus",
        "2",
        "-m",
        "400m",
        "--read-only",
        "--tmpfs",
        "/scratch:size=8m,mode=1777",
        "--init",
        "busybox",
        "sh",
        "-c",
        script,
    ];
    let outcome = host
        .cenote(&arguments)
        .env("PASSED", "passed")
        .env("PREFIX_A", "a")
        .input("typed")
        .run()
        .exits(7);
    let expected = "1000\n1001\n/tmp\nhere\nflag|from a file|flag|passed|a|cenote\n2\nread-only\nscratch\n8\ntyped";
    assert_eq!(outcome.stdout(), expected, "{}", outcome.all());
    assert_eq!(outcome.stderr(), "to-stderr");
}

#[test]
fn exit_codes_are_podmans() {
    let host = Host::new();
    host.run(&[
        "run",
        "--rm",
        "--init",
        "busybox",
        "sh",
        "-c",
        "kill -TERM $$; sleep 9",
    ])
    .exits(143);
    host.run(&["run", "--rm", "busybox", "/etc/passwd"])
        .exits(126);
    let missing = host
        .run(&["run", "--rm", "-q", "busybox", "no-such-program"])
        .exits(127);
    assert_eq!(missing.stderr().lines().count(), 1, "{}", missing.all());
    assert!(
        missing.stderr().contains("no-such-program"),
        "{}",
        missing.all()
    );
    assert!(host.sandboxes().is_empty(), "--rm left a container behind");
}

#[test]
fn one_line_says_that_it_is_emulated_and_timing_tells_phases() {
    let host = Host::new();
    let emulated = vmm().is_none_or(|vmm| vmm == "qemu");
    let how: &[&str] = if emulated { &["--accel", "tcg"] } else { &[] };
    let command = [&["run", "--rm"], how, &["--timing", "busybox", "true"]].concat();
    let outcome = host.run(&command).succeeds();
    let notice = outcome
        .stderr()
        .lines()
        .filter(|line| line.contains("emulated"))
        .count();
    assert_eq!(notice, usize::from(emulated), "{}", outcome.all());
    for phase in ["resolve", "start", "kernel", "agent", "container", "exit"] {
        let told =
            |line: &str| line.split_whitespace().nth(1) == Some(phase) && line.ends_with(" ms");
        assert!(
            outcome.stderr().lines().any(told),
            "no {phase}: {}",
            outcome.all()
        );
    }
    let quiet = host
        .run(&["run", "--rm", "-q", "busybox", "true"])
        .succeeds();
    assert_eq!(quiet.stderr(), "");
}

#[test]
fn output_of_any_length_arrives_whole() {
    let host = Host::new();
    let script =
        "i=0; while [ $i -lt 20000 ]; do echo line-$i; i=$((i+1)); done; head -c 3000000 /dev/zero";
    let outcome = host
        .run(&["run", "--rm", "-q", "busybox", "sh", "-c", script])
        .succeeds();
    let mut expected: Vec<u8> = (0..20_000)
        .flat_map(|i| format!("line-{i}\n").into_bytes())
        .collect();
    expected.resize(expected.len() + 3_000_000, 0);
    assert!(
        outcome.bytes() == expected,
        "{} bytes, not {}",
        outcome.bytes().len(),
        expected.len()
    );
}
