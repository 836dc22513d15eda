//! Random layers: what comes out of the images equals what unpacking the layers gives, and fsck.erofs agrees.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Action, Folder, Op, pattern, write};
use crate::flat::{Flat, What, flatten};
use crate::judge::{create, fsck};
use crate::metadata::{Device, Metadata, Timestamp};
use crate::{Image, LayerSource, LayerWriter, merge};

/// Few names, so that entries meet; links to directories are another test's matter.
fn path() -> impl Strategy<Value = Vec<u8>> {
    vec(prop_oneof![4 => 0..3usize, 1 => 3..NAMES.len()], 1..4).prop_map(|names| {
        names
            .iter()
            .map(|&name| NAMES[name].to_vec())
            .collect::<Vec<_>>()
            .join(&b'/')
    })
}

const NAMES: [&[u8]; 6] = [
    b"a",
    b"b",
    b"c",
    b"!before-dots",
    b"\xff\x01 \n",
    &[b'n'; 255],
];

fn xattrs() -> impl Strategy<Value = Vec<(Vec<u8>, Vec<u8>)>> {
    const NAMES: [&str; 6] = [
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "trusted.a",
        "user.a",
        "user.long-name-that-makes-the-body-large",
    ];
    proptest::sample::subsequence(NAMES.as_slice(), 0..3).prop_flat_map(|names| {
        let values = vec(vec(any::<u8>(), 0..70), names.len());
        values.prop_map(move |values| {
            names
                .iter()
                .map(|name| name.as_bytes().to_vec())
                .zip(values)
                .collect()
        })
    })
}

fn meta() -> impl Strategy<Value = Metadata> {
    let mtime = (any::<i64>(), 0..1_000_000_000u32);
    (0..0o10000u16, any::<u32>(), any::<u32>(), mtime, xattrs()).prop_map(
        |(mode, uid, gid, mtime, xattrs)| {
            let mtime = Timestamp {
                seconds: mtime.0,
                nanoseconds: mtime.1,
            };
            Metadata {
                mode,
                uid,
                gid,
                mtime,
                xattrs,
            }
        },
    )
}

fn action() -> impl Strategy<Value = Action> {
    let size =
        prop_oneof![8 => 0..10_000u64, 1 => Just(4096), 1 => (2 << 20) - 2..(2 << 20) + 9_000u64];
    let file = size.prop_map(|size| Action::Make(What::File(pattern(size, size))));
    let sparse =
        (0..400_000u64, vec((0..300_000u64, 0..60_000u64), 0..5)).prop_map(|(more, steps)| {
            let mut end = 0;
            let extents = steps.iter().map(|&(hole, length)| {
                end += hole + length;
                (end - length, length)
            });
            let extents = extents.collect();
            Action::Sparse {
                size: end + more,
                extents,
            }
        });
    let device = (any::<bool>(), 0..1u32 << 12, 1..1u32 << 20).prop_map(|(block, major, minor)| {
        Action::Make(What::Device(
            if block {
                Device::Block
            } else {
                Device::Character
            },
            major,
            minor,
        ))
    });
    prop_oneof![
        4 => Just(Action::Make(What::Directory)),
        4 => file,
        1 => sparse,
        1 => vec(1..=255u8, 1..4096).prop_map(|target| Action::Make(What::Symlink(target))),
        3 => path().prop_map(Action::Link),
        1 => device,
        1 => Just(Action::Make(What::Fifo)),
        1 => Just(Action::Make(What::Socket)),
        2 => Just(Action::Whiteout),
        1 => Just(Action::Opaque),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let symlinks_are_leaves = |mut op: Op| {
        if matches!(op.action, Action::Make(What::Symlink(_))) {
            op.path.extend(b".link");
            op.path.truncate(op.path.len().min(255));
        }
        op
    };
    (path(), meta(), action())
        .prop_map(move |(path, meta, action)| symlinks_are_leaves(Op { path, meta, action }))
}

struct Outcome {
    _folder: tempfile::TempDir,
    layers: Vec<PathBuf>,
    meta: PathBuf,
    found: Flat,
    expected: Flat,
}

fn run(layers: &[Vec<Op>]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Folder::new();
    let mut paths = Vec::new();
    for (index, ops) in layers.iter().enumerate() {
        let path = folder.path().join(format!("layer{index}.erofs"));
        let mut layer = LayerWriter::new(create(&path)).unwrap();
        model.begin_layer();
        for op in ops {
            if model.unpack(op) {
                write(&mut layer, op).unwrap();
            }
        }
        layer.finish().unwrap();
        Image::open(File::open(&path).unwrap())
            .unwrap()
            .check()
            .unwrap();
        paths.push(path);
    }
    let meta = folder.path().join("meta.erofs");
    let sources: Vec<_> = paths
        .iter()
        .map(|path| LayerSource {
            path: path.clone(),
            tag: [0; 64],
        })
        .collect();
    merge(&sources, create(&meta)).unwrap();
    let space = concatenate(folder.path(), &meta, &paths);
    let tree = Image::open(File::open(&meta).unwrap())
        .unwrap()
        .tree(0)
        .unwrap();
    let found = flatten(&tree, &space);
    Outcome {
        _folder: folder,
        layers: paths,
        meta,
        found,
        expected: model.into_flat(),
    }
}

fn concatenate(folder: &Path, meta: &Path, layers: &[PathBuf]) -> File {
    let path = folder.join("flat");
    let mut out = create(&path);
    for piece in std::iter::once(meta).chain(layers.iter().map(PathBuf::as_path)) {
        io::copy(&mut File::open(piece).unwrap(), &mut out).unwrap();
    }
    out
}

fn assert_equal(found: &Flat, expected: &Flat) {
    let names = |flat: &Flat| {
        flat.keys()
            .map(|path| path.escape_ascii().to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(names(found), names(expected));
    for (path, entry) in expected {
        assert_eq!(&found[path], entry, "{}", path.escape_ascii());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn merged_layers_equal_unpacked_layers(layers in vec(vec(op(), 0..24), 1..4)) {
        let outcome = run(&layers);
        assert_equal(&outcome.found, &outcome.expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn fsck_accepts_layers_and_merged_images(layers in vec(vec(op(), 0..60), 1..4)) {
        let outcome = run(&layers);
        let devices: Vec<&Path> = outcome.layers.iter().map(PathBuf::as_path).collect();
        fsck(&outcome.meta, &devices);
        for layer in devices {
            fsck(layer, &[]);
        }
    }
}
