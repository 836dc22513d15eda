//! What users get wrong: one line that names the remedy, exit code 125, nothing left behind.

use crate::fixture::{Host, Project};

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
    refused(&["stats", "nobody"], &["cenote stats --fs nobody"]);
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
        (&["debug", "trace", "--rate", "0", "x"], "0 is not in 1.."),
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

#[test]
fn with_shares_and_volumes() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("file", "");
    let refused = |flags: &[&str], words: &[&str]| {
        let arguments = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        let outcome = project.cenote(&arguments).exits(125);
        for word in words {
            assert!(
                outcome.stderr().contains(word),
                "no `{word}` in {}",
                outcome.all()
            );
        }
    };
    refused(
        &["-v", "./missing:/src"],
        &["statfs", "project/missing", "No such file or directory"],
    );
    refused(
        &["-v", "src/sub:/src"],
        &["`src/sub` is no name of a volume", "./src/sub"],
    );
    refused(
        &["-v", ".:src"],
        &["invalid container path `src`, must be an absolute path"],
    );
    refused(&["-v", ".:/src:frob"], &["`frob` is no option"]);
    refused(
        &["-v", ".:/src:cache=some"],
        &["cache=some", "never, metadata, auto or always"],
    );
    refused(
        &["-v", "a:/b:c:d"],
        &["incorrect volume format", "[SOURCE:]TARGET[:OPTIONS]"],
    );
    refused(&["-v", ".:/"], &["nothing can be mounted on `/`"]);
    refused(
        &["-v", ".:/a", "--tmpfs", "/a"],
        &["/a: duplicate mount destination"],
    );
    refused(
        &["--mount", "type=bind,dst=/a"],
        &["--mount of type bind needs source="],
    );
    refused(
        &["--mount", "type=glob,dst=/a"],
        &["there is no type `glob`"],
    );
    refused(
        &["--volumes-from", "x"],
        &["--volumes-from is not supported"],
    );
    let many: Vec<String> = (0..13)
        .flat_map(|n| ["-v".to_owned(), format!(".:/d{n}")])
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&many, &["13 shares", "12"]);
    assert!(host.sandboxes().is_empty());
    assert_eq!(project.cenote(&["volume", "ls", "-q"]).stdout(), "");

    // What only the guest can know fails the start, and leaves nothing.
    refused(
        &["-v", "./file:/bin"],
        &["mount a file on", "/bin", "Is a directory"],
    );
    refused(
        &["-v", ".:/bin/busybox"],
        &["mount a directory on", "/bin/busybox", "Not a directory"],
    );
    refused(
        &["-v", "/dev/null:/null"],
        &["/dev/null", "neither a directory nor a file"],
    );
    assert!(host.sandboxes().is_empty());
}
