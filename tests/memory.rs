//! Image data is not copied into the guest: reading a file maps the host's pages.

use std::io::Write;

use crate::fixture::Host;

const WARM_UP: usize = 16 << 20;
const LARGE: usize = 200 << 20;

/// Reads a file after another one and tells by how many KiB the guest's caches grew.
const SCRIPT: &str = r#"
    caches() { awk '/^(Cached|Buffers|Slab):/ { sum += $2 } END { print sum }' /proc/meminfo; }
    cat /warm >/dev/null; before=$(caches); cat /large >/dev/null; after=$(caches); echo $((after - before))"#;

#[test]
fn reading_the_image_costs_the_guest_no_memory() {
    let host = Host::empty();
    host.cenote(&["import", "-", "large"])
        .input(archive())
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

/// A root file system of busybox and two files that cannot be compressed or left out as holes.
fn archive() -> Vec<u8> {
    let busybox =
        std::fs::read("/bin/busybox").expect("no busybox: run `make test`, which installs it");
    let mut tar = Vec::new();
    add(&mut tar, "bin/busybox", 0o755, &busybox);
    for name in ["sh", "awk", "cat"] {
        link(&mut tar, &format!("bin/{name}"), "busybox");
    }
    add(&mut tar, "warm", 0o644, &noise(WARM_UP));
    add(&mut tar, "large", 0o644, &noise(LARGE));
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
