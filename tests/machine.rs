//! The machine's shape: what `--cpus` and `--memory` ask for is what the container finds.

use crate::fixture::Host;

#[test]
fn one_two_and_four_processors_from_little_memory_to_much() {
    let host = Host::new();
    for (cpus, memory) in [(1, 128), (2, 512), (4, 1024), (1, 2048)] {
        let script =
            "nproc; awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo; sync; echo whole";
        let command = [
            "run",
            "--rm",
            "-q",
            "--cpus",
            &cpus.to_string(),
            "-m",
            &format!("{memory}m"),
            "busybox",
            "sh",
            "-c",
            script,
        ];
        let shape = host.run(&command).succeeds().stdout();
        let lines: Vec<_> = shape.lines().collect();
        let found: u64 = lines[1].parse().unwrap();
        assert_eq!(
            (lines[0], lines[2]),
            (&*cpus.to_string(), "whole"),
            "{shape}"
        );
        // The kernel keeps some 80 to 120 MiB of it for itself.
        assert!(
            found < memory && found > memory / 3,
            "{found} of {memory} MiB"
        );
    }
}
