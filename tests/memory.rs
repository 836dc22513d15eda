//! Image data is not copied into the guest: reading a file maps the host's pages, which all guests share.

use std::fs;
use std::io::Write;

use crate::fixture::{Host, leftovers};

const WARM_UP: usize = 16 << 20;
const LARGE: usize = 200 << 20;
const SHARED: usize = 60 << 20;

/// Reads a file after another one and tells by how many KiB the guest's caches grew.
const SCRIPT: &str = r#"
    caches() { awk '/^(Cached|Buffers|Slab):/ { sum += $2 } END { print sum }' /proc/meminfo; }
    cat /warm >/dev/null; before=$(caches); cat /large >/dev/null; after=$(caches); echo $((after - before))"#;

#[test]
fn reading_the_image_costs_the_guest_no_memory() {
    let host = Host::empty();
    host.cenote(&["import", "-", "large"])
        .input(archive(LARGE))
        .run()
        .succeeds();
    let growth = |flags: &[&str]| -> i64 {
        let arguments = [
            &["run", "--rm", "-q", "-m", "640m"],
            flags,
            &["large", "/bin/busybox", "sh", "-c", SCRIPT],
        ]
        .concat();
        host.run(&arguments)
            .succeeds()
            .stdout()
            .parse::<i64>()
            .unwrap()
            * 1024
    };
    let (mapped, copied) = (growth(&[]), growth(&["--no-dax"]));
    println!("caches grew by {mapped} bytes of {LARGE}, without dax by {copied}");
    assert!(
        mapped * 100 < LARGE as i64,
        "{mapped} bytes of {LARGE} were copied into the guest"
    );
    // Without dax the same read fills the guest's page cache: the measure is able to see it.
    assert!(
        copied * 10 >= LARGE as i64 * 9,
        "only {copied} bytes of {LARGE} were cached without dax"
    );
}

#[test]
fn two_sandboxes_of_one_image_have_its_pages_once() {
    let host = Host::empty();
    host.cenote(&["import", "-", "large"])
        .input(archive(SHARED))
        .run()
        .succeeds();
    let start = |name: &str| {
        host.run(&[
            "run",
            "-d",
            "-q",
            "--network",
            "none",
            "--read-only",
            "--name",
            name,
            "large",
            "sleep",
            "100000",
        ])
        .succeeds();
        host.run(&["exec", name, "sh", "-c", "cat /large >/dev/null"])
            .succeeds();
    };
    start("one");
    let [alone] = layers(&host)[..] else {
        panic!("one machine is to map the layer: {:?}", layers(&host));
    };
    start("two");
    let both = layers(&host);
    let [one, two] = both[..] else {
        panic!("two machines are to map the layer: {both:?}");
    };
    println!("the layer in memory, of {SHARED} bytes read: alone {alone:?}, then {both:?}");
    // Each has all of it, and of each page one half is counted to either.
    for layer in [alone, one, two] {
        assert!(layer.resident >= SHARED as u64, "{layer:?}");
    }
    assert!(alone.proportional * 100 >= alone.resident * 99, "{alone:?}");
    let sum = one.proportional + two.proportional;
    let largest = one.resident.max(two.resident);
    assert!(sum * 100 <= largest * 101, "{both:?}");
}

/// What of a layer's file a process has mapped, in bytes.
#[derive(Debug, Clone, Copy)]
struct Layer {
    /// Every page (RSS).
    resident: u64,
    /// Each page divided by the number of those who map it (PSS).
    proportional: u64,
}

/// The layers that the host's machines map, one for each: in the monitor or in its QEMU. With QEMU the monitor knows the layer
/// too, but touches nothing of it.
fn layers(host: &Host) -> Vec<Layer> {
    let processes = leftovers::processes(host.scratch());
    let ids = processes
        .iter()
        .filter_map(|line| line.split_whitespace().next());
    ids.filter_map(|id| fs::read_to_string(format!("/proc/{id}/smaps")).ok())
        .filter_map(|smaps| layer(&smaps))
        .filter(|layer| layer.resident > 0)
        .collect()
}

/// The mapping of a layer in `smaps` (proc_pid_smaps(5)).
fn layer(smaps: &str) -> Option<Layer> {
    let mut lines = smaps
        .lines()
        .skip_while(|line| !(line.contains("/images/layers/") && line.ends_with(".erofs")));
    let mut next = |name: &str| -> Option<u64> {
        let line = lines.find(|line| line.starts_with(name))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    };
    Some(Layer {
        resident: next("Rss:")?,
        proportional: next("Pss:")?,
    })
}

/// A root file system of busybox and two files that cannot be compressed or left out as holes.
fn archive(large: usize) -> Vec<u8> {
    let busybox =
        std::fs::read("/bin/busybox").expect("no busybox: run `make test`, which installs it");
    let mut tar = Vec::new();
    add(&mut tar, "bin/busybox", 0o755, &busybox);
    for name in ["sh", "awk", "cat", "sleep"] {
        link(&mut tar, &format!("bin/{name}"), "busybox");
    }
    add(&mut tar, "warm", 0o644, &noise(WARM_UP));
    add(&mut tar, "large", 0o644, &noise(large));
    tar.extend([0; 1024]);
    tar
}

fn add(tar: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    tar.extend(header(name, mode, content.len(), b'0', ""));
    tar.write_all(content).unwrap();
    tar.resize(tar.len().next_multiple_of(512), 0);
}

fn link(tar: &mut Vec<u8>, name: &str, target: &str) {
    tar.extend(header(name, 0o777, 0, b'2', target));
}

/// A header of POSIX.1-1988 (ustar).
fn header(name: &str, mode: u32, size: usize, kind: u8, target: &str) -> [u8; 512] {
    let mut header = [0; 512];
    let mut put =
        |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, &format!("{mode:07o}"));
    put(108, "0000000");
    put(116, "0000000");
    put(124, &format!("{size:011o}"));
    put(136, "00000000000");
    put(148, "        ");
    put(157, target);
    put(257, "ustar\x0000");
    header[156] = kind;
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// Bytes of a xorshift generator.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    });
    words.take(length / 8).flat_map(u64::to_le_bytes).collect()
}
