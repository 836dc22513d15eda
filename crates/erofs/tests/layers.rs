//! The writer and the merger from outside, by their public interface.

#[path = "../src/judge.rs"]
mod judge;

use cenote_erofs::*;
use judge::create;

fn meta(mode: u16) -> Metadata {
    Metadata {
        mode,
        ..Metadata::default()
    }
}

#[test]
fn a_layer_and_its_merge_are_whole_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.erofs");
    let mut layer = LayerWriter::new(create(&path)).unwrap();
    layer.directory(b"", meta(0o755)).unwrap();
    layer
        .file(b"etc/hostname", meta(0o644), 5, &mut &b"host\n"[..])
        .unwrap();
    layer.hard_link(b"etc/name", b"etc/hostname").unwrap();
    layer.symlink(b"lib", meta(0o777), b"usr/lib").unwrap();
    let big = vec![7; 3 << 20];
    layer
        .file(b"big", meta(0o4755), big.len() as u64, &mut &big[..])
        .unwrap();
    layer
        .sparse_file(
            b"holes",
            meta(0o600),
            1 << 30,
            &[(1 << 20, 4096)],
            &mut &big[..],
        )
        .unwrap();
    let summary = layer.finish().unwrap();
    assert_eq!(summary.blocks % 512, 0);
    assert_eq!(summary.inodes, 6);

    let out = folder.path().join("meta.erofs");
    let source = LayerSource {
        path: path.clone(),
        tag: [b'a'; 64],
    };
    let merged = merge(&[source], create(&out)).unwrap();
    assert_eq!(merged.pieces.len(), 2);
    assert_eq!(
        merged.pieces[1],
        Piece {
            start: merged.pieces[0].blocks,
            blocks: summary.blocks
        }
    );
    judge::fsck(&out, &[&path]);
    judge::fsck(&path, &[]);
}
