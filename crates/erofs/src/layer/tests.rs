//! What the writer refuses, keeps and drops, seen through the reader.

use std::fs::File;
use std::io::{self, Read};

use super::*;
use crate::flat::{Flat, What, flatten};
use crate::image::Image;
use crate::judge::{create, fsck};
use crate::metadata::Timestamp;

/// Writes a layer, lets fsck.erofs judge it and reads it back.
fn written(entries: impl FnOnce(&mut LayerWriter)) -> (Flat, LayerSummary) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.erofs");
    let mut layer = LayerWriter::new(create(&path)).unwrap();
    entries(&mut layer);
    let summary = layer.finish().unwrap();
    fsck(&path, &[]);
    let file = File::open(&path).unwrap();
    let tree = Image::open(file.try_clone().unwrap())
        .unwrap()
        .tree(0)
        .unwrap();
    (flatten(&tree, &file), summary)
}

fn meta() -> Metadata {
    Metadata {
        mode: 0o644,
        ..Metadata::default()
    }
}

fn refused(entry: impl FnOnce(&mut LayerWriter) -> Result<(), WriteError>) -> WriteError {
    let mut layer = LayerWriter::new(tempfile::tempfile().unwrap()).unwrap();
    entry(&mut layer).unwrap_err()
}

#[test]
fn an_empty_layer_is_an_implied_root() {
    let (flat, summary) = written(|_| {});
    assert_eq!(flat.len(), 1);
    assert_eq!(flat[&b""[..]].meta, Metadata::implied_directory());
    assert_eq!(
        summary,
        LayerSummary {
            blocks: 512,
            inodes: 1,
            data_bytes: 0,
            dropped_xattrs: 0
        }
    );
}

#[test]
fn an_output_that_holds_something_is_refused() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(1).unwrap();
    assert!(matches!(
        LayerWriter::new(file),
        Err(WriteError::NotEmpty { length: 1 })
    ));
}

#[test]
fn extreme_metadata_survive() {
    let extreme = Metadata {
        mode: 0o7777,
        uid: u32::MAX - 1,
        gid: 65536,
        mtime: Timestamp {
            seconds: i64::MIN,
            nanoseconds: 999_999_999,
        },
        xattrs: vec![(b"security.capability".to_vec(), vec![0xff; 20])],
    };
    let (flat, _) = written(|layer| {
        layer.directory(b"", extreme.clone()).unwrap();
        layer.fifo(b"fifo", extreme.clone()).unwrap();
    });
    assert_eq!(flat[&b""[..]].meta, extreme);
    assert_eq!(flat[&b"fifo"[..]].meta, extreme);
}

#[test]
fn a_mode_loses_its_file_type_and_a_link_its_permissions() {
    let (flat, _) = written(|layer| {
        layer
            .fifo(
                b"fifo",
                Metadata {
                    mode: 0o104_644,
                    ..meta()
                },
            )
            .unwrap();
        layer.symlink(b"link", meta(), b"fifo").unwrap();
    });
    assert_eq!(flat[&b"fifo"[..]].meta.mode, 0o4644);
    assert_eq!(flat[&b"link"[..]].meta.mode, 0o777);
}

#[test]
fn attributes_that_give_orders_to_overlayfs_are_dropped() {
    let names = [
        "trusted.overlay.opaque",
        "user.overlay.whiteout",
        "trusted.overlay.presence",
        "com.apple.x",
        "user.",
    ];
    let mut xattrs: Vec<_> = names
        .iter()
        .map(|name| (name.as_bytes().to_vec(), b"y".to_vec()))
        .collect();
    xattrs.push((b"trusted.overlayer".to_vec(), b"1".to_vec()));
    xattrs.push((b"trusted.overlayer".to_vec(), b"2".to_vec()));
    let (flat, summary) = written(|layer| {
        layer
            .directory(b"d", Metadata { xattrs, ..meta() })
            .unwrap()
    });
    assert_eq!(
        flat[&b"d"[..]].meta.xattrs,
        [(b"trusted.overlayer".to_vec(), b"2".to_vec())]
    );
    assert_eq!(summary.dropped_xattrs, 5);
}

#[test]
fn attributes_beyond_the_format_are_refused() {
    let with = |name: &[u8], value: usize| {
        let xattrs = vec![(name.to_vec(), vec![0; value])];
        match refused(|layer| layer.fifo(b"f", Metadata { xattrs, ..meta() })) {
            WriteError::Xattr { reason, .. } => reason,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        with(&[&b"user."[..], &[b'n'; 251]].concat(), 1),
        "the name has more than 255 bytes"
    );
    assert_eq!(with(b"user.a\0b", 1), "the name has a NUL byte in it");
    assert_eq!(
        with(b"user.a", 65536),
        "the value has more than 65535 bytes"
    );

    let xattrs = (0..4u8)
        .map(|nth| {
            (
                vec![b'u', b's', b'e', b'r', b'.', b'a' + nth],
                vec![0; 65000],
            )
        })
        .collect();
    let error = refused(|layer| layer.fifo(b"f", Metadata { xattrs, ..meta() }));
    assert!(matches!(
        error,
        WriteError::Xattr {
            reason: "all attributes together exceed 248 KiB",
            ..
        }
    ));
}

#[test]
fn attributes_at_the_limit_survive() {
    let mut xattrs = vec![([&b"user."[..], &[b'n'; 250]].concat(), vec![1; 65535])];
    xattrs.extend((0..2u8).map(|nth| {
        (
            vec![b'u', b's', b'e', b'r', b'.', b'a' + nth],
            vec![nth; 65535],
        )
    }));
    xattrs.sort();
    let (flat, _) = written(|layer| {
        layer
            .directory(
                b"d",
                Metadata {
                    xattrs: xattrs.clone(),
                    ..meta()
                },
            )
            .unwrap();
        layer
            .symlink(
                b"l",
                Metadata {
                    xattrs: xattrs.clone(),
                    ..meta()
                },
                &[b't'; 4095],
            )
            .unwrap();
        layer
            .symlink(
                b"m",
                Metadata {
                    xattrs: xattrs.clone(),
                    ..meta()
                },
                &[b't'; 2000],
            )
            .unwrap();
    });
    assert_eq!(flat[&b"d"[..]].meta.xattrs, xattrs);
    assert_eq!(flat[&b"l"[..]].what, What::Symlink(vec![b't'; 4095]));
    assert_eq!(flat[&b"m"[..]].what, What::Symlink(vec![b't'; 2000]));
}

#[test]
fn data_must_come_whole() {
    let short = refused(|layer| layer.file(b"f", meta(), 10, &mut &b"12345"[..]));
    assert!(matches!(
        short,
        WriteError::ShortData {
            expected: 10,
            found: 5,
            ..
        }
    ));

    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("corrupt stream"))
        }
    }
    match refused(|layer| layer.file(b"f", meta(), 10, &mut Broken)) {
        WriteError::Input { path, source } => assert_eq!(
            (&path[..], &source.to_string()[..]),
            ("f", "corrupt stream")
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn no_more_is_read_than_the_entry_has() {
    let mut data = &b"12345rest"[..];
    let mut layer = LayerWriter::new(tempfile::tempfile().unwrap()).unwrap();
    layer.file(b"f", meta(), 5, &mut data).unwrap();
    layer.file(b"empty", meta(), 0, &mut data).unwrap();
    assert_eq!(data, b"rest");
}

#[test]
fn values_that_linux_cannot_hold_are_refused() {
    let nanoseconds = Metadata {
        mtime: Timestamp {
            seconds: 0,
            nanoseconds: 1_000_000_000,
        },
        ..meta()
    };
    assert!(matches!(
        refused(|layer| layer.fifo(b"f", nanoseconds)),
        WriteError::Nanoseconds { .. }
    ));
    for target in [&b""[..], b"a\0b", &[b'x'; 4096]] {
        assert!(matches!(
            refused(|layer| layer.symlink(b"l", meta(), target)),
            WriteError::LinkTarget { .. }
        ));
    }
    for (major, minor) in [(1 << 12, 0), (0, 1 << 20)] {
        let error = refused(|layer| layer.device(b"d", meta(), Device::Block, major, minor));
        assert!(matches!(error, WriteError::DeviceNumber { .. }));
    }
}

#[test]
fn the_largest_device_numbers_survive() {
    let (flat, _) = written(|layer| {
        layer
            .device(b"b", meta(), Device::Block, 0xfff, 0xf_ffff)
            .unwrap();
        layer.device(b"c", meta(), Device::Character, 0, 1).unwrap();
        layer.device(b"zero", meta(), Device::Block, 0, 0).unwrap();
    });
    assert_eq!(
        flat[&b"b"[..]].what,
        What::Device(Device::Block, 0xfff, 0xf_ffff)
    );
    assert_eq!(flat[&b"c"[..]].what, What::Device(Device::Character, 0, 1));
    assert_eq!(flat[&b"zero"[..]].what, What::Device(Device::Block, 0, 0));
}

#[test]
fn a_character_device_of_zeros_is_a_whiteout() {
    let (flat, _) = written(|layer| layer.device(b"w", meta(), Device::Character, 0, 0).unwrap());
    assert_eq!(flat[&b"w"[..]].what, What::Whiteout);
}

#[test]
fn names_are_checked_by_every_entry() {
    let bad = b"a/../b";
    let errors = [
        refused(|layer| layer.directory(bad, meta())),
        refused(|layer| layer.file(bad, meta(), 0, &mut io::empty())),
        refused(|layer| layer.sparse_file(bad, meta(), 0, &[], &mut io::empty())),
        refused(|layer| layer.symlink(bad, meta(), b"t")),
        refused(|layer| layer.hard_link(bad, b"t")),
        refused(|layer| layer.hard_link(b"a", bad)),
        refused(|layer| layer.device(bad, meta(), Device::Block, 1, 1)),
        refused(|layer| layer.fifo(bad, meta())),
        refused(|layer| layer.socket(bad, meta())),
        refused(|layer| layer.whiteout(bad)),
        refused(|layer| layer.opaque(bad)),
    ];
    for error in errors {
        assert!(
            matches!(
                error,
                WriteError::Path {
                    reason: "has a '.' or '..' in it",
                    ..
                }
            ),
            "{error:?}"
        );
    }
    assert!(matches!(
        refused(|layer| layer.fifo(b"", meta())),
        WriteError::Path { .. }
    ));
    assert!(matches!(
        refused(|layer| layer.whiteout(b"")),
        WriteError::Path { .. }
    ));
}

#[test]
fn an_entry_below_a_file_is_refused() {
    let error = refused(|layer| {
        layer.symlink(b"lib", meta(), b"usr/lib").unwrap();
        layer.fifo(b"lib/x", meta())
    });
    assert!(
        matches!(error, WriteError::NotADirectory { path, name } if path == "lib/x" && name == "lib")
    );
}

#[test]
fn hard_links_share_their_inode_and_outlive_its_first_name() {
    let (flat, summary) = written(|layer| {
        layer.file(b"a", meta(), 3, &mut &b"old"[..]).unwrap();
        layer.hard_link(b"b", b"a").unwrap();
        layer.hard_link(b"c", b"b").unwrap();
        layer.file(b"a", meta(), 3, &mut &b"new"[..]).unwrap();
    });
    assert_eq!(flat[&b"a"[..]].what, What::File(b"new".to_vec()));
    assert_eq!(flat[&b"b"[..]].what, What::File(b"old".to_vec()));
    assert_eq!(flat[&b"c"[..]].first_name, b"b");
    assert_eq!(summary.inodes, 3);

    let error = refused(|layer| {
        layer.directory(b"d", meta()).unwrap();
        layer.hard_link(b"l", b"d")
    });
    assert!(
        matches!(error, WriteError::LinkToDirectory { path, target } if path == "l" && target == "d")
    );
}

#[test]
fn a_link_to_what_the_layer_does_not_have_is_deferred() {
    let (flat, _) = written(|layer| {
        layer.whiteout(b"gone").unwrap();
        layer.hard_link(b"l", b"gone").unwrap();
        layer.hard_link(b"m", b"below/file").unwrap();
        layer.hard_link(b"n", b"m").unwrap();
    });
    assert_eq!(flat[&b"l"[..]].what, What::DeferredLink(b"gone".to_vec()));
    assert_eq!(
        flat[&b"m"[..]].what,
        What::DeferredLink(b"below/file".to_vec())
    );
    assert_eq!(flat[&b"n"[..]].first_name, b"m");
}

#[test]
fn a_later_entry_replaces_an_earlier_one() {
    let (flat, _) = written(|layer| {
        layer.fifo(b"d/x", meta()).unwrap();
        layer
            .directory(
                b"d",
                Metadata {
                    mode: 0o700,
                    ..meta()
                },
            )
            .unwrap();
        layer.fifo(b"e/x", meta()).unwrap();
        layer.socket(b"e", meta()).unwrap();
    });
    assert_eq!(flat[&b"d"[..]].meta.mode, 0o700);
    assert_eq!(flat[&b"d/x"[..]].what, What::Fifo);
    assert_eq!(flat[&b"e"[..]].what, What::Socket);
    assert!(!flat.contains_key(&b"e/x"[..]));
}

#[test]
fn a_directory_of_100_000_entries() {
    let name = |nth: u32| format!("file-with-a-longer-name-{nth:06}").into_bytes();
    let (flat, summary) = written(|layer| {
        for nth in (0..100_000).rev() {
            layer.hard_link(&name(nth), b"elsewhere").unwrap();
        }
    });
    assert_eq!(summary.inodes, 100_001);
    assert!((0..100_000).all(|nth| flat.contains_key(&name(nth))));
}

/// More metadata than one write takes, at every alignment.
#[test]
fn metadata_of_several_megabytes() {
    let value = |nth: usize| vec![b'v'; nth % 97];
    let name = |nth: usize| format!("{nth}").into_bytes();
    let (flat, _) = written(|layer| {
        for nth in 0..20_000 {
            let xattrs = vec![(b"user.odd".to_vec(), value(nth))];
            layer
                .symlink(
                    &name(nth),
                    Metadata { xattrs, ..meta() },
                    &vec![b't'; nth % 103 + 1],
                )
                .unwrap();
        }
    });
    for nth in 0..20_000 {
        let entry = &flat[&name(nth)[..]];
        assert_eq!(entry.meta.xattrs[0].1, value(nth));
        assert_eq!(entry.what, What::Symlink(vec![b't'; nth % 103 + 1]));
    }
}

#[test]
fn files_above_4_gib() {
    const SIZE: u64 = (5 << 30) + 1;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("layer.erofs");
    let mut layer = LayerWriter::new(create(&path)).unwrap();
    let ends = [(0, 4096), (SIZE - 1, 1)];
    let mut data = vec![b'a'; 4096];
    data.push(b'z');
    layer
        .sparse_file(b"holes", meta(), SIZE, &ends, &mut &data[..])
        .unwrap();
    // Holes of less than an eighth: one run of blocks, of which the image file stores few.
    let apart: Vec<_> = (0..SIZE / (4 << 20))
        .map(|nth| (nth * (4 << 20), 0))
        .chain([(SIZE - 1, 1)])
        .collect();
    layer
        .sparse_file(b"far", meta(), SIZE, &apart, &mut &b"y"[..])
        .unwrap();
    layer.finish().unwrap();
    fsck(&path, &[]);
    let mut image = Image::open(File::open(&path).unwrap()).unwrap();
    let tree = image.tree(0).unwrap();
    for name in [&b"holes"[..], b"far"] {
        match &tree.get(tree.find(name).unwrap()).kind {
            Kind::Regular(regular) => assert_eq!(regular.size, SIZE),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sparse_maps_are_checked() {
    for extents in [
        &[(5, 6)][..],
        &[(0, 4), (3, 1)],
        &[(4, 1), (0, 1)],
        &[(u64::MAX, 2)],
    ] {
        let error =
            refused(|layer| layer.sparse_file(b"s", meta(), 10, extents, &mut io::repeat(1)));
        assert!(
            matches!(error, WriteError::Extent { .. }),
            "{extents:?}: {error:?}"
        );
    }
    let huge = refused(|layer| layer.sparse_file(b"s", meta(), u64::MAX, &[], &mut io::empty()));
    assert!(matches!(huge, WriteError::TooLarge { .. }));
    let huge = refused(|layer| layer.file(b"s", meta(), u64::MAX, &mut io::empty()));
    assert!(matches!(huge, WriteError::TooLarge { .. }));
}

#[test]
fn indexes_of_holes_cannot_be_multiplied() {
    let error = refused(|layer| {
        // Two blocks far apart cost a header of some hundred bytes and 32,769 indexes.
        let size = 4096 * 65536 - 4096;
        (0..).try_for_each(|_| {
            layer.sparse_file(
                b"s",
                meta(),
                size,
                &[(0, 1), (size - 1, 1)],
                &mut io::repeat(1),
            )
        })
    });
    assert!(matches!(
        error,
        WriteError::TooMany {
            what: "chunks of files with holes",
            ..
        }
    ));
}
