//! What merging makes of layers, where the model of unpacking has no say.

use std::path::Path;

use super::*;
use crate::flat::{Flat, What, flatten};
use crate::judge::{create, fsck, program};
use crate::{LayerWriter, Metadata};

struct Layers {
    folder: tempfile::TempDir,
    sources: Vec<LayerSource>,
}

impl Layers {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            sources: Vec::new(),
        }
    }

    /// Adds a layer on top.
    fn with(mut self, entries: impl FnOnce(&mut LayerWriter)) -> Self {
        let nth = self.sources.len();
        let path = self.folder.path().join(format!("{nth}.erofs"));
        let mut layer = LayerWriter::new(create(&path)).unwrap();
        entries(&mut layer);
        layer.finish().unwrap();
        self.sources.push(LayerSource {
            path,
            tag: [b'0' + nth as u8; 64],
        });
        self
    }

    fn merge(&self) -> Result<MergeSummary, MergeError> {
        merge(&self.sources, create(&self.meta()))
    }

    fn meta(&self) -> PathBuf {
        self.folder.path().join("meta.erofs")
    }

    /// The merged tree, read from the concatenation of all pieces.
    fn merged(&self) -> Flat {
        self.merge().unwrap();
        let devices: Vec<&Path> = self
            .sources
            .iter()
            .map(|source| source.path.as_path())
            .collect();
        fsck(&self.meta(), &devices);
        let mut space = create(&self.folder.path().join("space"));
        for piece in std::iter::once(self.meta().as_path()).chain(devices) {
            io::copy(&mut File::open(piece).unwrap(), &mut space).unwrap();
        }
        let mut image = Image::open(File::open(self.meta()).unwrap()).unwrap();
        flatten(&image.tree(0).unwrap(), &space)
    }
}

fn meta(mode: u16) -> Metadata {
    Metadata {
        mode,
        ..Metadata::default()
    }
}

fn file(layer: &mut LayerWriter, path: &str, content: &str) {
    layer
        .file(
            path.as_bytes(),
            meta(0o644),
            content.len() as u64,
            &mut content.as_bytes(),
        )
        .unwrap();
}

fn content<'a>(flat: &'a Flat, path: &str) -> &'a str {
    match flat.get(path.as_bytes()).map(|entry| &entry.what) {
        Some(What::File(bytes)) => std::str::from_utf8(bytes).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

/// As Debian does since it merged `/lib` into `/usr/lib`.
fn usr_merged() -> Layers {
    Layers::new().with(|layer| {
        layer.directory(b"usr/lib", meta(0o711)).unwrap();
        layer.symlink(b"lib", meta(0o777), b"usr/lib").unwrap();
        file(layer, "usr/lib/old", "old");
    })
}

#[test]
fn a_path_through_a_lower_link_leads_to_its_directory() {
    let flat = usr_merged()
        .with(|layer| file(layer, "lib/new", "new"))
        .merged();
    assert_eq!(content(&flat, "usr/lib/new"), "new");
    assert_eq!(content(&flat, "usr/lib/old"), "old");
    assert_eq!(flat[&b"lib"[..]].what, What::Symlink(b"usr/lib".to_vec()));
    assert_eq!(flat[&b"usr/lib"[..]].meta.mode, 0o711);
}

#[test]
fn a_directory_that_the_layer_names_replaces_a_lower_link() {
    let layers = usr_merged().with(|layer| {
        layer.directory(b"lib", meta(0o755)).unwrap();
        file(layer, "lib/new", "new");
    });
    let flat = layers.merged();
    assert_eq!(content(&flat, "lib/new"), "new");
    assert!(!flat.contains_key(&b"usr/lib/new"[..]));
}

#[test]
fn what_is_hidden_through_a_lower_link_is_gone() {
    let layers = usr_merged().with(|layer| {
        file(layer, "usr/lib/new", "new");
        layer.opaque(b"lib").unwrap();
    });
    let flat = layers.merged();
    assert!(!flat.contains_key(&b"usr/lib/old"[..]));
    assert_eq!(content(&flat, "usr/lib/new"), "new");

    let flat = usr_merged()
        .with(|layer| layer.whiteout(b"lib/old").unwrap())
        .merged();
    assert!(!flat.contains_key(&b"usr/lib/old"[..]));
    assert_eq!(flat[&b"lib"[..]].what, What::Symlink(b"usr/lib".to_vec()));
}

#[test]
fn a_link_that_leads_nowhere_gives_way_to_a_directory() {
    for target in [&b"nowhere"[..], b"lib", b"../../nowhere"] {
        let layers = Layers::new()
            .with(|layer| layer.symlink(b"lib", meta(0o777), target).unwrap())
            .with(|layer| file(layer, "lib/new", "new"));
        assert_eq!(content(&layers.merged(), "lib/new"), "new");
    }
}

#[test]
fn hard_links_across_layers_share_the_inode() {
    let layers = usr_merged().with(|layer| {
        layer.hard_link(b"direct", b"usr/lib/old").unwrap();
        layer.hard_link(b"through", b"lib/old").unwrap();
        layer.whiteout(b"usr/lib/old").unwrap();
    });
    let flat = layers.merged();
    assert_eq!(content(&flat, "direct"), "old");
    assert_eq!(flat[&b"through"[..]].first_name, b"direct");
    assert!(!flat.contains_key(&b"usr/lib/old"[..]));
}

#[test]
fn a_hard_link_to_nothing_names_layer_and_target() {
    for target in ["nothing", "usr/lib"] {
        let layers =
            usr_merged().with(|layer| layer.hard_link(b"link", target.as_bytes()).unwrap());
        match layers.merge().unwrap_err() {
            MergeError::LinkTarget {
                layer,
                target: found,
            } => {
                assert_eq!(layer, layers.sources[1].path);
                assert_eq!(found, target);
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The marks and whiteouts that layers hold stay in the layers.
#[test]
fn nothing_that_overlayfs_obeys_is_left() {
    let layers = Layers::new()
        .with(|layer| {
            file(layer, "d/old", "old");
            file(layer, "gone", "gone");
        })
        .with(|layer| {
            layer.opaque(b"d").unwrap();
            layer.whiteout(b"gone").unwrap();
            layer.whiteout(b"never/was").unwrap();
            file(layer, "d/new", "new");
            layer.hard_link(b"link", b"d/old").unwrap();
        });
    layers.merge().unwrap();
    let bytes = std::fs::read(layers.meta()).unwrap();
    assert!(!bytes.windows(8).any(|window| window == b"overlay."));
    let layer = std::fs::read(&layers.sources[1].path).unwrap();
    assert!(layer.windows(8).any(|window| window == b"overlay."));
    let mut image = Image::open(File::open(layers.meta()).unwrap()).unwrap();
    let tree = image.tree(0).unwrap();
    assert!(
        !tree
            .iter()
            .any(|(_, inode)| matches!(inode.kind, crate::tree::Kind::Whiteout))
    );
    assert_eq!(tree.len(), 4);
}

#[test]
fn pieces_lie_back_to_back_and_slots_say_so() {
    let big = vec![1; 3 << 20];
    let layers = Layers::new()
        .with(|layer| {
            layer
                .file(b"big", meta(0o644), big.len() as u64, &mut &big[..])
                .unwrap()
        })
        .with(|layer| file(layer, "small", "small"));
    let pieces = layers.merge().unwrap().pieces;
    let lengths = [512, 1536, 512];
    assert_eq!(
        pieces.iter().map(|piece| piece.blocks).collect::<Vec<_>>(),
        lengths
    );
    assert_eq!(
        pieces.iter().map(|piece| piece.start).collect::<Vec<_>>(),
        [0, 512, 2048]
    );
    let table = std::process::Command::new(program("dump.erofs"))
        .arg("-s")
        .arg(layers.meta())
        .output()
        .unwrap();
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("device_table"), "{table}");
    assert!(table.contains("2560"), "total blocks: {table}");
}

#[test]
fn a_table_of_many_devices_leaves_the_first_block() {
    let layers = (0..40).fold(Layers::new(), |layers, nth| {
        layers.with(|layer| file(layer, &format!("f{nth}"), &nth.to_string()))
    });
    let flat = layers.merged();
    assert!((0..40).all(|nth| content(&flat, &format!("f{nth}")) == nth.to_string()));
}

#[test]
fn unusable_layers_are_named() {
    let none = merge(&[], tempfile::tempfile().unwrap());
    assert!(matches!(none, Err(MergeError::LayerCount { count: 0 })));
    let missing = LayerSource {
        path: "/nonexistent/layer".into(),
        tag: [0; 64],
    };
    let many = merge(&vec![missing.clone(); 257], tempfile::tempfile().unwrap());
    assert!(matches!(many, Err(MergeError::LayerCount { count: 257 })));
    let error = merge(&[missing], tempfile::tempfile().unwrap()).unwrap_err();
    assert!(
        matches!(error, MergeError::Open { path, .. } if path == Path::new("/nonexistent/layer"))
    );

    let layers = usr_merged();
    let path = &layers.sources[0].path;
    File::options()
        .write(true)
        .open(path)
        .unwrap()
        .set_len(2_000_000)
        .unwrap();
    let error = layers.merge().unwrap_err();
    assert!(matches!(
        error,
        MergeError::Layer {
            source: ReadError::Truncated { .. },
            ..
        }
    ));
}

/// A directory on the way to an entry keeps the lower metadata if the entry came before what hides it.
#[test]
fn what_hides_a_path_decides_by_its_place_in_the_layer() {
    let below = || {
        Layers::new().with(|layer| {
            layer.directory(b"a", meta(0o701)).unwrap();
            layer.directory(b"a/c", meta(0o702)).unwrap();
            file(layer, "a/c/old", "old");
        })
    };
    let modes = |flat: &Flat| {
        assert!(!flat.contains_key(&b"a/c/old"[..]));
        assert_eq!(content(flat, "a/c/new"), "new");
        (flat[&b"a"[..]].meta.mode, flat[&b"a/c"[..]].meta.mode)
    };
    let hide: [fn(&mut LayerWriter); 2] = [
        |layer| layer.whiteout(b"a").unwrap(),
        |layer| layer.opaque(b"a").unwrap(),
    ];
    for (hide, mode_of_a) in hide.into_iter().zip([0o755, 0o701]) {
        let after = below().with(|layer| {
            file(layer, "a/c/new", "new");
            hide(layer);
        });
        assert_eq!(modes(&after.merged()), (0o701, 0o702));
        let before = below().with(|layer| {
            hide(layer);
            file(layer, "a/c/new", "new");
        });
        assert_eq!(modes(&before.merged()), (mode_of_a, 0o755));
    }
}

/// Its files' addresses lead behind its own end, and would lead anywhere in the merged image.
#[test]
fn a_merged_image_is_no_layer() {
    let layers = usr_merged();
    layers.merge().unwrap();
    let source = LayerSource {
        path: layers.meta(),
        tag: [0; 64],
    };
    let error = merge(&[source], tempfile::tempfile().unwrap()).unwrap_err();
    assert!(matches!(error, MergeError::Merged { path } if path == layers.meta()));
}

#[test]
fn an_output_that_holds_something_is_refused() {
    let layers = usr_merged();
    let out = tempfile::tempfile().unwrap();
    out.set_len(5).unwrap();
    let error = merge(&layers.sources, out).unwrap_err();
    assert!(matches!(
        error,
        MergeError::Write(WriteError::NotEmpty { length: 5 })
    ));
}

/// Images are named by what they are made of, so the same layers must give the same bytes.
#[test]
fn images_are_reproducible() {
    let bytes = || {
        let layers = usr_merged().with(|layer| layer.whiteout(b"usr/lib/old").unwrap());
        layers.merge().unwrap();
        let layer = std::fs::read(&layers.sources[0].path).unwrap();
        (layer, std::fs::read(layers.meta()).unwrap())
    };
    assert!(bytes() == bytes());
}

/// A file of `length` bytes of one value.
fn piece(folder: &Path, name: &str, length: usize) -> WholeFile {
    let path = folder.join(format!("{name}.piece"));
    std::fs::write(&path, vec![name.as_bytes()[0]; length]).unwrap();
    WholeFile {
        name: format!("images/layers/{name}").into_bytes(),
        source: LayerSource {
            path,
            tag: [name.as_bytes()[0]; 64],
        },
    }
}

#[test]
fn whole_files_are_files_of_the_tree_and_pieces_behind_the_layers() {
    let layers = Layers::new().with(|layer| {
        layer
            .file(b"images/format", Metadata::default(), 2, &mut &b"1\n"[..])
            .unwrap();
    });
    let folder = layers.folder.path();
    let files = [piece(folder, "a", 2 << 20), piece(folder, "b", 4 << 20)];
    let summary = merge_with_files(&layers.sources, &files, create(&layers.meta())).unwrap();
    let blocks: Vec<u32> = summary.pieces.iter().map(|piece| piece.blocks).collect();
    assert_eq!(blocks, [512, 512, 512, 1024]);

    let devices: Vec<&Path> = [&layers.sources[0], &files[0].source, &files[1].source]
        .iter()
        .map(|source| source.path.as_path())
        .collect();
    fsck(&layers.meta(), &devices);
    let mut space = create(&folder.join("space"));
    for piece in std::iter::once(layers.meta().as_path()).chain(devices) {
        io::copy(&mut File::open(piece).unwrap(), &mut space).unwrap();
    }
    let mut image = Image::open(File::open(layers.meta()).unwrap()).unwrap();
    let flat = flatten(&image.tree(0).unwrap(), &space);
    let file = |name: &str| match &flat[name.as_bytes()].what {
        What::File(bytes) => bytes.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(file("images/format"), b"1\n");
    assert!(file("images/layers/a") == vec![b'a'; 2 << 20]);
    assert!(file("images/layers/b") == vec![b'b'; 4 << 20]);
}

#[test]
fn a_whole_file_of_an_odd_length_is_refused() {
    let layers = Layers::new().with(|_| {});
    let file = piece(layers.folder.path(), "a", (2 << 20) - 1);
    let refused = merge_with_files(&layers.sources, &[file], create(&layers.meta()));
    assert!(
        matches!(refused, Err(MergeError::FileLength { length, .. }) if length == (2 << 20) - 1),
        "{refused:?}"
    );
}

#[test]
fn a_whole_file_below_a_file_is_refused() {
    let layers = Layers::new().with(|layer| {
        layer
            .file(b"images", Metadata::default(), 0, &mut &b""[..])
            .unwrap();
    });
    let file = piece(layers.folder.path(), "a", 2 << 20);
    let refused = merge_with_files(&layers.sources, &[file], create(&layers.meta()));
    assert!(
        matches!(
            refused,
            Err(MergeError::Write(WriteError::NotADirectory { .. }))
        ),
        "{refused:?}"
    );
}
