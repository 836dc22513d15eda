//! Containers that run containers: what the level above lends, and what one can do with it.

use crate::fixture::{Host, Outcome};

#[test]
fn a_nested_container_finds_kvm_and_what_it_is_lent() {
    let host = Host::new();
    for name in ["greeting", "secret"] {
        let archive = host.file(&format!("{name}.tar"), tar_of(name, "hello\n"));
        let reference = format!("localhost/{name}");
        host.run(&["import", archive.to_str().unwrap(), &reference])
            .succeeds();
    }
    let images = ["--nested-image", "busybox", "--nested-image", "greeting"];
    let name = host.detached(&[&["--nested"][..], &images].concat());
    let inside = |command: &[&str]| host.run(&[&["exec", &name][..], command].concat());

    // The processor, and everything that `run` needs, is there without a flag.
    let findings = inside(&["cenote", "doctor", "--format", "json"])
        .succeeds()
        .json();
    for finding in findings.as_array().unwrap() {
        assert_eq!(finding["verdict"], "good", "{finding}");
    }
    let names = inside(&["cenote", "images", "--format", "json"])
        .succeeds()
        .json();
    let names: Vec<_> = names
        .as_array()
        .unwrap()
        .iter()
        .map(|image| image["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        ["localhost/busybox:latest", "localhost/greeting:latest"]
    );
    let kernel = |outcome: Outcome| {
        let listed = outcome.succeeds().stdout();
        let first = listed.lines().nth(1).unwrap().to_owned();
        first.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(
        kernel(inside(&["cenote", "kernel", "ls"])),
        kernel(host.run(&["kernel", "ls"]))
    );

    // What is lent stays as it is; what is made inside lies beside it.
    inside(&["cenote", "rmi", "greeting"]).fails_with(&["lent by the level above"]);
    inside(&["touch", "/.cenote/mine"]).exits(1);
    let import = "tar -c -C / etc | cenote import - localhost/mine";
    inside(&["sh", "-c", import]).succeeds();
    let all = inside(&["cenote", "images", "-q"]).succeeds().stdout();
    assert_eq!(all.lines().count(), 3, "{all}");

    // Files of a lent image are the host's pages, not the guest's: reading them leaves its page cache alone.
    let grown = inside(&[
        "sh",
        "-c",
        "cached() { awk '/^Cached/ { print $2 }' /proc/meminfo; }; before=$(cached); cat /.cenote/lent/* | wc -c; \
         echo $(( $(cached) - before ))",
    ])
    .succeeds()
    .stdout();
    let (read, grown) = grown.split_once('\n').unwrap();
    let (read, grown): (i64, i64) = (read.parse().unwrap(), grown.parse().unwrap());
    assert!(read > 50 << 20 && grown < 2048, "{read} bytes, {grown} kB");

    // An image that is lent is in use.
    let held = host.run(&["rmi", "greeting"]);
    held.fails_with(&["in use"]);
}

/// The kernel's name for one of its lives.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

#[test]
fn a_container_in_a_container_has_a_machine_of_its_own_on_kvm() {
    let host = Host::new();
    let outer = host.detached(&["--nested", "--cpus", "2"]);
    let inside = |command: &[&str]| host.run(&[&["exec", &outer][..], command].concat());
    // The middle machine's kernel counts how often machines of its own left for it.
    let exits = || -> u64 {
        let count = "mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null; cat /sys/kernel/debug/kvm/exits";
        let counted = host.run(&["exec", "--vm", &outer, "sh", "-c", count]);
        counted.succeeds().stdout().parse().unwrap()
    };
    let before = exits();
    inside(&[
        "cenote", "run", "-d", "--name", "inner", "busybox", "sleep", "100000",
    ])
    .succeeds();
    let booted = exits();
    let innermost = inside(&["cenote", "exec", "inner", "cat", BOOT_ID]).succeeds();
    let after = exits();
    let ids = [
        std::fs::read_to_string(BOOT_ID).unwrap().trim().to_owned(),
        inside(&["cat", BOOT_ID]).succeeds().stdout(),
        innermost.stdout(),
    ];
    println!(
        "boot ids of host, outer and inner machine: {ids:?}; exits {before}, {booted}, {after}"
    );
    assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    assert_eq!(before, 0);
    assert!(booted > 500 && after > booted);

    // It reads the very layer that the host has, and nothing had to be pulled or made for it.
    let lists = |outcome: Outcome| outcome.succeeds().stdout();
    let layers = lists(inside(&[
        "ls",
        "/var/lib/cenote/images/layers",
        "/var/lib/cenote/images/meta",
    ]));
    assert!(!layers.contains(".erofs"), "{layers}");
    inside(&["cenote", "rm", "-f", "inner"]).succeeds();
}

/// A tar archive of one file.
fn tar_of(name: &str, content: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    let mut field =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(100, "0000644");
    field(108, "0000000");
    field(116, "0000000");
    field(124, &format!("{:011o}", content.len()));
    field(136, "00000000000");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar");
    field(263, "00");
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content.as_bytes());
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}
