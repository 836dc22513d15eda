//! Machines that do not come up, or end early: one clear message with what the console said, code 125, nothing left.

use crate::fixture::fake_kernel::{FAULT, SPIN, install, kernel};
use crate::fixture::{Host, Outcome};

/// Demands code 125 and a message whose first line has each of `words`, and that nothing is left.
fn fails(host: &Host, outcome: Outcome, words: &[&str]) -> Outcome {
    let failed = outcome.exits(125);
    let message = failed.stderr();
    let first = message.lines().next().unwrap_or_default();
    assert!(first.starts_with("cenote: "), "{}", failed.all());
    for word in words {
        assert!(first.contains(word), "no `{word}` in: {}", failed.all());
    }
    // What follows is quoted from the console.
    let quoted = |line: &str| line.starts_with("  | ");
    assert!(message.lines().skip(1).all(quoted), "{}", failed.all());
    assert!(host.sandboxes().is_empty());
    failed
}

#[test]
fn a_kernel_that_is_none_is_refused() {
    let host = Host::new();
    install(&host, "1.0-garbage", &[b'x'; 100_000]);
    let run = [
        "run",
        "--rm",
        "-q",
        "--kernel",
        "1.0-garbage",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["1.0-garbage", "kernel"]);
}

#[test]
fn a_triple_fault_ends_the_machine() {
    let host = Host::new();
    install(&host, "1.0-fault", &kernel(&FAULT));
    let run = [
        "run",
        "--rm",
        "-q",
        "--kernel",
        "1.0-fault",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["triple fault"]);
}

#[test]
fn a_kernel_that_spins_is_given_up() {
    let host = Host::new();
    install(&host, "1.0-spin", &kernel(&SPIN));
    let run = [
        "run", "--rm", "-q", "--kernel", "1.0-spin", "busybox", "true",
    ];
    fails(&host, host.run(&run), &["did not come up within 120 s"]);
}

#[test]
fn a_panic_under_a_running_container_is_quoted() {
    let host = Host::new();
    let mut container = host
        .cenote(&[
            "run", "--rm", "-q", "--name", "victim", "busybox", "sleep", "1000",
        ])
        .start();
    host.until("running", &mut container);
    let crash = "echo c > /proc/sysrq-trigger";
    let lost = host.run(&["exec", "--vm", "victim", "sh", "-c", crash]);
    assert_ne!(lost.code(), 0, "{}", lost.all());
    let words = ["ended before its container did", "kernel panicked: sysrq"];
    let failed = fails(&host, container.finish(), &words);
    assert!(failed.stderr().contains("\n  | "), "{}", failed.all());
}

#[test]
fn a_detached_container_whose_machine_fails_says_why() {
    let host = Host::new();
    install(&host, "1.0-fault", &kernel(&FAULT));
    let run = [
        "run",
        "-d",
        "--rm",
        "-q",
        "--kernel",
        "1.0-fault",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["triple fault"]);
}

#[test]
fn too_little_memory_is_refused_with_the_figure() {
    let host = Host::new();
    host.run(&["run", "--rm", "-m", "64m", "busybox", "true"])
        .fails_with(&["--memory 64.0 MiB", "96.0 MiB"]);
    // The images' page structures come on top.
    host.run(&["run", "--rm", "-q", "-m", "96m", "busybox", "true"])
        .fails_with(&["page structures", "--memory 97m"]);
    host.run(&[
        "run", "--rm", "-q", "-m", "96m", "--nested", "busybox", "true",
    ])
    .fails_with(&["page structures", "--memory"]);
    assert!(host.sandboxes().is_empty());
}
