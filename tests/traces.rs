//! Where the time of a container's requests on shares goes.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader};

use rustix::process::Signal;

use crate::fixture::Host;

/// A request's line, by the words before each `=` or `+-`.
fn parts(line: &str) -> HashMap<&str, f64> {
    let pairs = line.split(' ').filter_map(|word| {
        let (name, value) = word.split_once('=').or_else(|| word.split_once("+-"))?;
        Some((name, value.parse().unwrap_or_else(|_| panic!("{line}"))))
    });
    pairs.collect()
}

/// Every part is there, none is negative, and together they are the whole, but for what rounding to 0.1 adds.
fn check_sum(line: &str) {
    let found = parts(line);
    let names = ["queue", "transport", "server", "file-system", "reply"];
    let spans = names.map(|name| found.get(name).copied().unwrap_or_default());
    assert!(spans.iter().all(|span| *span >= 0.0), "{line}");
    let (sum, total) = (spans.iter().sum::<f64>(), found["total"]);
    assert!((sum - total).abs() < 0.5, "{sum} is not {total}: {line}");
    assert!(found["server"] > 0.0 && found["clock"] > 0.0, "{line}");
}

#[test]
fn operations_on_shares_are_counted_and_traced() {
    session("virtiofs", false);
}

#[test]
fn over_vsock_the_time_in_the_guest_queue_is_told_as_well() {
    session("vsock", true);
}

/// Works on two shares over `transport`, where requests wait in a queue of the guest's kernel or do not.
fn session(transport: &str, queue: bool) {
    let host = Host::new();
    let (work, other) = (host.scratch().join("work"), host.scratch().join("other"));
    for folder in [&work, &other] {
        fs::create_dir(folder).unwrap();
        fs::write(folder.join("input"), "0123456789").unwrap();
        fs::create_dir_all(folder.join("full/of")).unwrap();
    }
    let share = |folder: &std::path::Path, target| format!("-v={}:{target}", folder.display());
    let name = host.detached(&[
        &format!("--share-transport={transport}"),
        &share(&work, "/work"),
        &share(&other, "/other"),
    ]);
    let exec = |script: &str| {
        host.run(&["exec", &name, "sh", "-c", script])
            .succeeds()
            .stdout()
    };
    let lines = |flags: &[&str], script: &str| {
        let arguments = [&["debug", "trace"], flags, &[&name]].concat();
        let mut trace = host.cenote(&arguments).start();
        let mut out = BufReader::new(trace.stdout()).lines().map(Result::unwrap);
        let head = out.next().unwrap();
        exec(script);
        // What ends the script's work is the last of its requests.
        let mut all = Vec::new();
        while !all
            .last()
            .is_some_and(|line: &String| line.contains("/work mkdir "))
        {
            all.push(out.next().unwrap());
        }
        trace.signal(Signal::TERM);
        trace.dies();
        (head, all)
    };

    let (head, all) = lines(
        &["--rate=1", "--share=/work"],
        "cat /other/input; cat /work/input; echo abc >/work/output; rmdir /work/full; mkdir /work/end",
    );
    assert!(head.contains("one in 1 requests"), "{head}");
    assert!(head.contains("clock is known to +-"), "{head}");
    assert!(all.iter().all(|line| line.contains(" /work ")), "{all:#?}");
    for operation in ["lookup", "open", "read", "create", "write", "mkdir"] {
        let word = format!(" {operation} ");
        let line = all.iter().find(|line| line.contains(&word));
        let line = line.unwrap_or_else(|| panic!("no {operation}: {all:#?}"));
        check_sum(line);
        assert_eq!(parts(line).contains_key("queue"), queue, "{line}");
    }
    let only = |operation: &str, word: &str| {
        let operation = format!(" {operation} ");
        all.iter()
            .any(|line| line.contains(&operation) && line.contains(word))
    };
    assert!(only("read", "bytes=10"), "{all:#?}");
    assert!(only("write", "bytes=4"), "{all:#?}");
    // ENOTEMPTY
    assert!(only("rmdir", "errno=39"), "{all:#?}");

    host.run(&["debug", "trace", "--share=/none", &name])
        .fails_with(&["no share at /none", "/other, /work"]);

    let counted = host.run(&["stats", "--fs", "--format=json", &name]).json();
    let of = |share: &str, operation: &str| {
        let rows = counted.as_array().unwrap().iter();
        let mut rows = rows.filter(|row| row["share"] == share && row["operation"] == operation);
        let row = rows.next();
        row.unwrap_or_else(|| panic!("no {operation} on {share}: {counted:#}"))
            .clone()
    };
    assert_eq!(of("/work", "read")["bytes"], 10);
    assert_eq!(of("/work", "write")["bytes"], 4);
    assert_eq!(of("/work", "mkdir")["count"], 1);
    assert_eq!(of("/work", "rmdir")["errors"], 1);
    assert_eq!(of("/other", "read")["bytes"], 10);
    let write = of("/work", "write");
    let time = |name: &str| write[name].as_u64().unwrap();
    assert!(time("p50_ns") <= time("p99_ns") && time("p99_ns") <= time("max_ns"));
    assert!(0 < time("max_ns") && time("max_ns") <= time("total_ns"));
    let table = host.run(&["stats", "--fs", &name]).succeeds().stdout();
    assert!(
        table.contains("OPERATION") && table.contains("mkdir"),
        "{table}"
    );

    host.run(&["stop", "-t=0", &name]).succeeds();
    for verb in [&["stats", "--fs"][..], &["debug", "trace"]] {
        host.run(&[verb, &[&name]].concat())
            .fails_with(&["not running"]);
    }
}
