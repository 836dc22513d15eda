//! Reads and merges layers whose bytes were changed after they were written.
//!
//! The input is a list of changes to one valid image, three bytes each: where, counted from the superblock, and the new
//! value. So every input gets past the magic number, and no image has to be kept as a seed.

#![no_main]

use std::fs::File;
use std::io::{Cursor, Write};
use std::sync::LazyLock;

use cenote_erofs::{Device, Image, LayerSource, LayerWriter, Metadata, merge};
use libfuzzer_sys::fuzz_target;

/// Superblock and all metadata of the sample lie in its first blocks.
const REACH: usize = 1 << 16;

static SAMPLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = tempfile::NamedTempFile::new().unwrap();
    write_sample(file.reopen().unwrap());
    let mut bytes = std::fs::read(file.path()).unwrap();
    // Without this flag the checksum is not looked at.
    bytes[1024 + 8] &= !1;
    bytes
});

fn write_sample(file: File) {
    let meta = |mode| Metadata {
        mode,
        xattrs: vec![
            (b"user.name".to_vec(), b"value".to_vec()),
            (b"security.capability".to_vec(), vec![1; 20]),
        ],
        ..Metadata::default()
    };
    let mut layer = LayerWriter::new(file).unwrap();
    layer.directory(b"", meta(0o755)).unwrap();
    for nth in 0..200 {
        layer
            .fifo(format!("many/{nth:0200}").as_bytes(), meta(0o600))
            .unwrap();
    }
    layer
        .file(b"d/file", meta(0o644), 5000, &mut &[1; 5000][..])
        .unwrap();
    layer.hard_link(b"d/link", b"d/file").unwrap();
    layer.hard_link(b"d/deferred", b"below").unwrap();
    layer
        .sparse_file(
            b"d/holes",
            meta(0o644),
            1 << 22,
            &[(1 << 20, 9), (1 << 21, 9)],
            &mut &[1; 18][..],
        )
        .unwrap();
    layer.symlink(b"short", meta(0o777), b"d/file").unwrap();
    layer.symlink(b"long", meta(0o777), &[b'x'; 3000]).unwrap();
    layer
        .device(b"device", meta(0o600), Device::Block, 8, 1)
        .unwrap();
    layer.whiteout(b"gone").unwrap();
    layer.opaque(b"opaque/here").unwrap();
    layer.finish().unwrap();
}

fn write_base(file: File) {
    let mut layer = LayerWriter::new(file).unwrap();
    layer
        .file(b"below", Metadata::default(), 1, &mut &b"x"[..])
        .unwrap();
    layer
        .symlink(b"opaque", Metadata::default(), b"many/../loop")
        .unwrap();
    layer
        .symlink(b"loop", Metadata::default(), b"loop")
        .unwrap();
    layer.finish().unwrap();
}

fuzz_target!(|changes: &[u8]| {
    let mut bytes = SAMPLE.clone();
    let reach = REACH.min(bytes.len() - 1024);
    for change in changes.chunks_exact(3) {
        let position = usize::from(u16::from_le_bytes([change[0], change[1]])) % reach;
        bytes[1024 + position] = change[2];
    }
    let layer = tempfile::NamedTempFile::new().unwrap();
    std::io::copy(&mut Cursor::new(&bytes), &mut layer.as_file()).unwrap();
    layer.as_file().flush().unwrap();
    let Ok(mut image) = Image::open(layer.reopen().unwrap()) else {
        return;
    };
    let readable = image.check().is_ok();

    let base = tempfile::NamedTempFile::new().unwrap();
    write_base(base.reopen().unwrap());
    let source = |file: &tempfile::NamedTempFile| LayerSource {
        path: file.path().to_owned(),
        tag: [0; 64],
    };
    let out = tempfile::tempfile().unwrap();
    let merged = merge(&[source(&base), source(&layer)], out.try_clone().unwrap());
    assert!(
        readable || merged.is_err(),
        "merging took a layer that cannot be read"
    );
    if merged.is_ok() {
        // What merging writes is readable, whatever it was made from.
        Image::open(out).unwrap().check().unwrap();
    }
});
