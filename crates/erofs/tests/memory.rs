//! Writing a layer takes memory for its tree, not for its data. Alone in this program, so that the peak is its own.

use std::io::{self, Read};

use cenote_erofs::{LayerWriter, Metadata};

/// The most memory that this process has had, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn data_pass_through_a_bounded_buffer() {
    const DATA: u64 = 256 << 20;
    const FILES: u64 = 20_000;
    let before = peak();
    let mut layer = LayerWriter::new(tempfile::tempfile().unwrap()).unwrap();
    layer
        .file(b"big", Metadata::default(), DATA / 2, &mut io::repeat(1))
        .unwrap();
    for nth in 0..FILES {
        let path = format!("directory-{}/file-{nth}", nth % 100);
        let size = DATA / 2 / FILES;
        layer
            .file(
                path.as_bytes(),
                Metadata::default(),
                size,
                &mut io::repeat(2).take(size),
            )
            .unwrap();
    }
    layer.finish().unwrap();
    let used = peak() - before;
    // Buffers of some MiB, and the tree of 20,000 inodes with some hundred bytes each.
    assert!(used < 24 << 10, "{used} KiB for {} MiB of data", DATA >> 20);
}
