//! Containers that run containers: what the level above lends, and what one can do with it.

use crate::fixture::Host;

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
    let findings = inside(&["cenote", "doctor", "--format", "json"]).json();
    let needed = |subject: &serde_json::Value| subject != "qemu";
    for finding in findings
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| needed(&one["subject"]))
    {
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
    let kernels = |outcome: crate::fixture::Outcome| outcome.succeeds().stdout();
    assert_eq!(
        kernels(inside(&["cenote", "kernel", "ls"])),
        kernels(host.run(&["kernel", "ls"]))
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
