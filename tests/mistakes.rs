//! What users get wrong: one line that names the remedy, exit code 125, nothing left behind.

use crate::fixture::Host;

#[test]
fn without_a_machine_started() {
    let host = Host::new();
    let refused = |arguments: &[&str], words: &[&str]| {
        host.run(arguments).fails_with(words);
    };
    refused(
        &["run", "-v", "/no/such:/src", "busybox"],
        &["statfs /no/such", "No such file"],
    );
    refused(
        &["run", "--privileged", "busybox"],
        &["--privileged is not supported"],
    );
    refused(
        &["run", "--pid=host", "busybox"],
        &["--pid is not supported", "kernel of its own"],
    );
    refused(&["run", "-m", "1m", "busybox"], &["--memory", "96.0 MiB"]);
    refused(
        &["run", "--network", "none", "-p", "1:1", "busybox"],
        &["--network none"],
    );
    refused(&["run", "--vmm", "kvm", "busybox", "true"], &["--vmm"]);
    refused(
        &["run", "--kernel", "1.0", "busybox", "true"],
        &["1.0", "cenote kernel ls"],
    );
    refused(
        &["run", "--env-file", "/no/such", "busybox"],
        &["/no/such", "No such file"],
    );
    refused(
        &["run", "--pull", "never", "nothing-here"],
        &["nothing-here", "cenote pull"],
    );
    refused(
        &["exec", "nobody"],
        &["give a command", "cenote exec nobody COMMAND"],
    );
    refused(&["exec", "nobody", "true"], &["nobody", "cenote ps -a"]);
    refused(&["rm", "nobody"], &["nobody", "cenote ps -a"]);
    refused(&["rmi", "nothing-here"], &["nothing-here", "cenote images"]);
    refused(&["load", "-i", "/etc/hostname"], &["/etc/hostname"]);
    assert!(host.sandboxes().is_empty(), "a refused container was made");
}

#[test]
fn a_wrong_command_line_is_told_by_the_parser() {
    let host = Host::empty();
    for (arguments, word) in [
        (&["run", "--bogus", "busybox"][..], "--bogus"),
        (&["run"], "IMAGE"),
        (
            &["run", "--network", "host", "busybox"],
            "network `host` is not supported",
        ),
        (&["run", "-m", "lots", "busybox"], "`lots` is no size"),
        (&["run", "--name", "a/b", "busybox"], "`a/b` is no name"),
        (&["frobnicate"], "frobnicate"),
        (&["kill", "-s", "NONSENSE", "x"], "`NONSENSE` is no signal"),
    ] {
        let outcome = host.run(arguments).exits(125);
        assert!(
            outcome.stderr().starts_with("cenote: ") && outcome.stderr().contains(word),
            "{}",
            outcome.all()
        );
    }
}

#[test]
fn missing_pieces_name_their_remedy() {
    let host = Host::new();
    std::fs::remove_dir_all(host.data().join("kernels")).unwrap();
    host.run(&["run", "--rm", "-q", "busybox", "true"])
        .fails_with(&["cenote kernel install"]);
}
