//! A container's life: created, started, looked at, ended, removed.

use std::io::{BufRead, BufReader};

use crate::fixture::Host;

#[test]
fn from_create_to_rm() {
    let host = Host::new();
    let cidfile = host.scratch().join("id");
    let script = "echo first 1; echo wrong >&2; cat /kept 2>/dev/null; echo saved > /kept; exit 4";
    let create = [
        "create",
        "--name",
        "web",
        "-l",
        "tier=front",
        "--cidfile",
        cidfile.to_str().unwrap(),
        "busybox",
        "sh",
        "-c",
    ];
    let id = host
        .run(&[&create[..], &[script]].concat())
        .succeeds()
        .stdout();
    assert_eq!(id.len(), 64);
    assert_eq!(std::fs::read_to_string(&cidfile).unwrap(), id);

    // Not running: only `ps -a` shows it.
    assert_eq!(host.run(&["ps", "-q"]).succeeds().stdout(), "");
    assert_eq!(host.sandboxes()[0]["status"], "created");
    host.run(&["exec", "web", "true"])
        .fails_with(&["web is created, not running", "cenote start web"]);

    // Started in the foreground, by the beginning of its id.
    let attached = host
        .run(&["start", "-a", &id[..10]])
        .exits(4)
        .prints("first 1");
    assert_eq!(attached.stderr(), "wrong");
    host.run(&["wait", "web"]).succeeds().prints("4");
    // Once more, in the background: what it wrote is still there.
    host.run(&["start", "web"]).succeeds().prints("web");
    host.run(&["wait", "web"]).succeeds().prints("4");
    let logs = host
        .run(&["logs", "web"])
        .succeeds()
        .prints("first 1\nfirst 1\nsaved");
    assert_eq!(logs.stderr(), "wrong\nwrong");
    host.run(&["logs", "--tail", "1", "web"])
        .succeeds()
        .prints("saved");

    let console = host.run(&["logs", "--boot", "web"]).succeeds().stdout();
    assert!(
        console.contains("cenote-guest: the container is ready"),
        "{console}"
    );

    let listed = &host.sandboxes()[0];
    assert_eq!(
        (&listed["status"], &listed["code"], &listed["name"]),
        (&"exited".into(), &4.into(), &"web".into())
    );
    let details = host.run(&["inspect", "web"]).succeeds().json();
    assert_eq!(details[0]["id"], id);
    assert_eq!(details[0]["spec"]["labels"]["tier"], "front");

    host.run(&["create", "--name", "web", "busybox"])
        .fails_with(&["web", "in use", "cenote rm web"]);
    let other = host
        .run(&["create", "--name", "web", "--replace", "busybox"])
        .succeeds()
        .stdout();
    assert_ne!(other, id);
    host.run(&["rm", "web"]).succeeds().prints("web");
    host.run(&["inspect", "web"])
        .fails_with(&["no sandbox web", "cenote ps -a"]);
    assert!(host.sandboxes().is_empty());
}

#[test]
fn stop_and_kill() {
    let host = Host::new();
    let polite = "trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let stubborn = "trap '' TERM; echo up; while :; do sleep 0.1; done";
    for (name, script) in [("polite", polite), ("stubborn", stubborn)] {
        host.run(&[
            "run", "-d", "-q", "--name", name, "busybox", "sh", "-c", script,
        ])
        .succeeds();
        let mut logs = host.cenote(&["logs", "-f", name]).start();
        assert_eq!(
            BufReader::new(logs.stdout())
                .lines()
                .next()
                .unwrap()
                .unwrap(),
            "up"
        );
        host.run(&["stop", "-t", "1", name]).succeeds().prints(name);
        logs.finish();
    }
    host.run(&["wait", "polite", "stubborn"])
        .succeeds()
        .prints("3\n137");
    host.run(&["logs", "polite"]).succeeds().prints("up\nbye");

    host.run(&[
        "run", "-d", "-q", "--name", "killed", "busybox", "sleep", "1000",
    ])
    .succeeds();
    let waiting = host.cenote(&["wait", "killed"]).start();
    host.run(&["rm", "killed"])
        .fails_with(&["killed is running", "cenote stop killed"]);
    host.run(&["kill", "killed"]).succeeds();
    waiting.finish().succeeds().prints("137");
    host.run(&["kill", "killed"])
        .fails_with(&["killed is exited, not running"]);

    // `rm -f` ends what runs; one that is not there is no error.
    let name = host.detached(&[]);
    host.run(&["rm", "-f", &name, "killed", "nobody"])
        .succeeds();
    assert_eq!(host.sandboxes().len(), 2);
}

#[test]
fn a_log_that_is_followed_ends_with_the_container() {
    let host = Host::new();
    let script = "for i in 1 2 3; do echo $i; sleep 0.5; done";
    host.run(&[
        "run", "-d", "-q", "--name", "counts", "busybox", "sh", "-c", script,
    ])
    .succeeds();
    host.run(&["logs", "-f", "counts"])
        .succeeds()
        .prints("1\n2\n3");
    let timed = host
        .run(&["logs", "-t", "--tail", "1", "counts"])
        .succeeds()
        .stdout();
    let (time, text) = timed.split_once(' ').unwrap();
    assert!(
        time.starts_with("20") && time.ends_with('Z') && text == "3",
        "{timed}"
    );
}

#[test]
fn a_detached_container_that_cannot_start_says_why() {
    let host = Host::new();
    let failed = host
        .run(&["run", "-d", "-q", "--rm", "busybox", "no-such-program"])
        .exits(127);
    assert!(
        failed.stderr().contains("no-such-program"),
        "{}",
        failed.all()
    );
    assert!(host.sandboxes().is_empty());
}

#[test]
fn a_paused_container_stands_still_until_it_goes_on_or_ends() {
    let host = Host::new();
    let script = "trap 'exit 3' TERM; while :; do echo tick; sleep 0.1; done";
    for name in ["one", "two", "three"] {
        host.run(&[
            "run", "-d", "-q", "--name", name, "busybox", "sh", "-c", script,
        ])
        .succeeds();
        host.run(&["pause", name]).succeeds().prints(name);
        if name == "one" {
            let status = |listed: serde_json::Value| listed[0]["state"]["status"].clone();
            assert_eq!(status(host.run(&["inspect", "one"]).json()), "paused");
            host.run(&["exec", "one", "true"])
                .fails_with(&["one is paused", "cenote unpause one"]);
            host.run(&["pause", "one"]).fails_with(&["one is paused"]);
        }
    }
    assert!(
        host.sandboxes()
            .iter()
            .all(|sandbox| sandbox["status"] == "paused")
    );
    let ticks = || host.run(&["logs", "one"]).succeeds().stdout().len();

    // Nothing is said while other machines boot and run, and then it goes on.
    let before = ticks();
    host.run(&["run", "--rm", "-q", "busybox", "sleep", "1"])
        .succeeds();
    assert_eq!(ticks(), before);
    host.run(&["unpause", "one"]).succeeds().prints("one");
    host.run(&["unpause", "one"])
        .fails_with(&["one is running, not paused"]);
    host.run(&["exec", "one", "sleep", "1"]).succeeds();
    assert!(ticks() > before, "it did not go on");

    // Ending one needs no unpausing.
    host.run(&["pause", "one"]).succeeds();
    host.run(&["stop", "one"]).succeeds().prints("one");
    host.run(&["kill", "two"]).succeeds();
    host.run(&["wait", "one", "two"])
        .succeeds()
        .prints("3\n137");
    host.run(&["rm", "-f", "three"]).succeeds();
    host.run(&["pause", "one"])
        .fails_with(&["one is exited, not running"]);
}
