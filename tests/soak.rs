//! Many lives and sudden deaths: nothing may stay behind. `make soak` asks for more of both than `make test`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::fixture::{Host, leftovers};

/// How often a container runs to its end, unless `CENOTE_SOAK_CYCLES` says otherwise.
const CYCLES: u64 = 20;

/// How often a monitor is killed, unless `CENOTE_SOAK_KILLS` says otherwise.
const KILLS: u64 = 10;

/// A kill comes within this time after the start: boots take longer, so most of it is before the container runs.
const LATEST_KILL: Duration = Duration::from_millis(6_000);

/// What a monitor's death takes along is gone within this time.
const DEATH: Duration = Duration::from_secs(10);

fn times(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is no number: {text}"))
    })
}

/// Everything outside the sandboxes' own folders that a run could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Traces {
    processes: Vec<String>,
    mounts: Vec<String>,
    files: BTreeSet<String>,
    shared_memory: BTreeSet<String>,
}

impl Traces {
    fn of(host: &Host) -> Self {
        Self {
            processes: leftovers::processes(host.scratch()),
            mounts: leftovers::mounts(host.scratch()),
            files: files(host.scratch(), host.scratch()),
            shared_memory: names(Path::new("/dev/shm")),
        }
    }
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains("cenote"))
        .collect()
}

/// All files, sockets and folders below `folder`.
fn files(root: &Path, folder: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        found.insert(
            path.strip_prefix(root)
                .unwrap()
                .to_string_lossy()
                .into_owned(),
        );
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(files(root, &path));
        }
    }
    found
}

#[test]
fn a_run_leaves_nothing_behind() {
    let host = Host::new();
    // The first run makes what all later ones share.
    host.run(&["run", "--rm", "-q", "busybox", "true"])
        .succeeds();
    let before = Traces::of(&host);
    for cycle in 0..times("CENOTE_SOAK_CYCLES", CYCLES) {
        let word = cycle.to_string();
        host.run(&["run", "--rm", "-q", "-p", ":80", "busybox", "echo", &word])
            .succeeds()
            .prints(&word);
        assert_eq!(Traces::of(&host), before, "after cycle {cycle}");
    }
}

#[test]
fn a_killed_monitor_takes_its_machine_along() {
    let host = Host::new();
    host.run(&["run", "--rm", "-q", "busybox", "true"])
        .succeeds();
    let before = Traces::of(&host);
    let kills = times("CENOTE_SOAK_KILLS", KILLS);
    for kill in 0..kills {
        // Moments spread over the whole start, every third one within its first tenth of a second.
        let share = (kill * 7_919 % 1_000) as u32;
        let latest = if kill % 3 == 0 {
            Duration::from_millis(100)
        } else {
            LATEST_KILL
        };
        let moment = latest * share / 1_000;
        let running = host
            .cenote(&["run", "-q", "-p", ":80", "busybox", "sleep", "1000"])
            .start();
        thread::sleep(moment);
        running.signal(Signal::KILL);
        running.dies();
        let killed = Instant::now();
        while !leftovers::processes(host.scratch()).is_empty() {
            let left = leftovers::processes(host.scratch());
            assert!(
                killed.elapsed() < DEATH,
                "killed after {moment:?}, still there: {left:#?}"
            );
        }
        // What is left is listed as dead and goes with an ordinary `rm`.
        let sandboxes = host.sandboxes();
        if sandboxes.is_empty() {
            // Killed before there was anything to list: a half-made lease goes when the store is next opened.
            host.run(&["images"]).succeeds();
        }
        for sandbox in sandboxes {
            let id = sandbox["id"].as_str().unwrap();
            assert!(
                ["dead", "created"].contains(&sandbox["status"].as_str().unwrap()),
                "{sandbox}"
            );
            host.run(&["rm", id]).succeeds();
        }
        assert_eq!(Traces::of(&host), before, "killed after {moment:?}");
    }
}
