//! Converts archives whose bytes were changed after they were written.
//!
//! The input is a list of changes to one valid archive, three bytes each: where, and the new value. Header checksums are
//! made right again afterwards, so every input gets as far as its fields deserve, and no archive has to be kept as a seed.

#![no_main]

use std::fs::File;
use std::sync::LazyLock;

use cenote_image::{Limits, convert};
use libfuzzer_sys::fuzz_target;
use tar::{Builder, EntryType, Header};

const BLOCK: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 148..156;

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let sample = sample();
    let out = tempfile::tempfile().unwrap();
    convert(&sample[..], None, out, &Limits::default()).expect("the sample is valid");
    sample
});

fn sample() -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    let header = |kind, size| {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header
    };
    let records = b"30 mtime=1234567890.123456789\n29 SCHILY.xattr.user.x=value\n\
        22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n28 GNU.sparse.realsize=4096\n";
    let mut map = b"1\n1024\n3\n".to_vec();
    map.resize(BLOCK, 0);
    map.extend_from_slice(b"abc");
    archive
        .append_pax_extensions([("path", &b"d/pax"[..])])
        .unwrap();
    archive
        .append_data(&mut header(EntryType::Regular, 3), "a", &b"abc"[..])
        .unwrap();
    archive
        .append_data(
            &mut header(EntryType::XHeader, records.len() as u64),
            "x",
            &records[..],
        )
        .unwrap();
    archive
        .append_data(
            &mut header(EntryType::Regular, map.len() as u64),
            "sparse",
            &map[..],
        )
        .unwrap();
    archive
        .append_data(
            &mut header(EntryType::Regular, 3),
            "long/".repeat(60),
            &b"abc"[..],
        )
        .unwrap();
    archive
        .append_link(&mut header(EntryType::Symlink, 0), "link", "t".repeat(200))
        .unwrap();
    archive
        .append_link(&mut header(EntryType::Link, 0), "hard", "d/pax")
        .unwrap();
    for name in [".wh.gone", "d/.wh..wh..opq"] {
        archive
            .append_data(&mut header(EntryType::Regular, 0), name, &b""[..])
            .unwrap();
    }
    archive.into_inner().unwrap()
}

/// Gives every block the checksum that it would need as a header. Data changes with it, which does no harm.
fn sign(block: &mut [u8]) {
    block[CHECKSUM].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fuzz_target!(|changes: &[u8]| {
    let mut archive = SAMPLE.clone();
    for change in changes.chunks_exact(3) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]])) % archive.len();
        archive[place] = change[2];
        let start = place / BLOCK * BLOCK;
        sign(&mut archive[start..start + BLOCK]);
    }
    let out: File = tempfile::tempfile().unwrap();
    let limits = Limits {
        layer_bytes: 1 << 20,
        ..Limits::default()
    };
    // An error is an answer; a panic, a hang or much memory is not.
    let _ = convert(&archive[..], None, out, &limits);
});
