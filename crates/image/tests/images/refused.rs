//! A valid layout with one thing broken: the exact error, and nothing left behind.

use std::fs;

use cenote_image::{
    ArchiveError, Error, Image, LayerError, Limits, ManifestError, Silent, Store, TarError,
    WriteError,
};
use serde_json::json;
use tar::EntryType;

use crate::handmade::{GZIP, Layer, Layout, entry, files, gzip};
use crate::support::Fixture;

fn two_layers() -> [Layer; 2] {
    let noise: Vec<u8> = (0..200_000_u32)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    [
        Layer::gzip(files(&[("a", b"one"), ("noise", &noise)])),
        Layer::zstd(files(&[("b", b"two"), ("noise", &noise)])),
    ]
}

fn load(fixture: &Fixture, source: &str) -> Result<Vec<Image>, Error> {
    fixture.store.load(&source.parse().unwrap(), None, &Silent)
}

/// Loads a layout of `layers` after `change` has broken something. The error must be all that is left.
fn broken(layers: &[Layer], change: impl FnOnce(&mut Layout)) -> Error {
    let fixture = Fixture::new();
    let mut layout = Layout::new(&fixture.path("layout"), layers);
    change(&mut layout);
    let error = load(&fixture, &layout.finish()).expect_err("something is broken");
    fixture.assert_empty();
    error
}

/// As [`broken`], for an error of a layer.
fn broken_layer(layers: &[Layer], change: impl FnOnce(&mut Layout)) -> LayerError {
    match broken(layers, change) {
        Error::Layer { source, .. } => source,
        error => panic!("not a layer's error: {error:?}"),
    }
}

/// The error of an image whose one layer is this archive.
fn refused_archive(archive: Vec<u8>) -> LayerError {
    broken_layer(&[Layer::gzip(archive)], |_| {})
}

#[test]
fn the_layout_itself_is_accepted() {
    let fixture = Fixture::new();
    let layout = Layout::new(&fixture.path("layout"), &two_layers());
    let image = &load(&fixture, &layout.finish()).unwrap()[0];
    assert_eq!(image.references[0].to_string(), "localhost/layout:latest");
    assert_eq!(image.layers.len(), 2);
}

#[test]
fn a_truncated_blob() {
    let error = broken_layer(&two_layers(), |layout| {
        let blob = layout.layer_path(0);
        let length = fs::metadata(&blob).unwrap().len();
        fs::File::options()
            .write(true)
            .open(blob)
            .unwrap()
            .set_len(length - 1000)
            .unwrap();
    });
    assert!(matches!(error, LayerError::BlobSize { .. }), "{error:?}");
}

#[test]
fn a_flipped_bit_in_a_blob() {
    for position in [0, 1] {
        let error = broken_layer(&two_layers(), |layout| {
            let blob = layout.layer_path(position);
            let mut bytes = fs::read(&blob).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(blob, bytes).unwrap();
        });
        assert!(matches!(error, LayerError::BlobDigest { .. }), "{error:?}");
    }
}

#[test]
fn a_blob_with_more_behind_it() {
    let error = broken_layer(&two_layers(), |layout| {
        let blob = layout.layer_path(1);
        let bytes = [fs::read(&blob).unwrap(), b"more".to_vec()].concat();
        fs::write(blob, bytes).unwrap();
    });
    assert!(matches!(error, LayerError::BlobSize { .. }), "{error:?}");
}

#[test]
fn an_archive_that_the_configuration_does_not_name() {
    let error = broken_layer(&two_layers(), |layout| {
        layout.config["rootfs"]["diff_ids"][1] = json!(format!("sha256:{}", "0".repeat(64)));
    });
    assert!(matches!(error, LayerError::DiffId { .. }), "{error:?}");
}

#[test]
fn a_compressed_stream_that_ends_early() {
    let mut layer = Layer::gzip(files(&[("a", &[1; 100_000])]));
    layer.blob.truncate(layer.blob.len() - 10);
    let error = broken_layer(&[layer], |_| {});
    assert!(
        matches!(error, LayerError::Decompress { name: "gzip", .. }),
        "{error:?}"
    );
}

#[test]
fn an_archive_that_ends_early() {
    let whole = files(&[("a", &[1; 100_000])]);
    let error = refused_archive(whole[..50_000].to_vec());
    assert!(
        matches!(error, LayerError::Tar(TarError::Truncated(50_000))),
        "{error:?}"
    );
}

#[test]
fn a_compression_that_is_not_supported() {
    let mut layer = Layer::gzip(files(&[("a", b"one")]));
    layer.blob = b"\xfd7zXZ\0 and so on".to_vec();
    let error = broken_layer(&[layer], |_| {});
    assert!(matches!(error, LayerError::Compression(_)), "{error:?}");
}

#[test]
fn a_bomb() {
    let fixture = Fixture::new();
    let limits = Limits {
        ratio_free_bytes: 1 << 20,
        ..Limits::default()
    };
    let store = Store::with_limits(fixture.store.folder(), limits).unwrap();
    let layout = Layout::new(
        &fixture.path("bomb"),
        &[Layer::zstd(files(&[("zeros", &vec![0; 64 << 20])]))],
    );
    let error = store
        .load(&layout.finish().parse().unwrap(), None, &Silent)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Layer {
                source: LayerError::Bomb { ratio: 200, .. },
                ..
            }
        ),
        "{error:?}"
    );
    fixture.assert_empty();
}

#[test]
fn a_layer_above_the_limit() {
    let fixture = Fixture::new();
    let limits = Limits {
        layer_bytes: 1 << 20,
        ..Limits::default()
    };
    let store = Store::with_limits(fixture.store.folder(), limits).unwrap();
    let layout = Layout::new(
        &fixture.path("large"),
        &[Layer::gzip(files(&[("a", &vec![7; 2 << 20])]))],
    );
    let error = store
        .load(&layout.finish().parse().unwrap(), None, &Silent)
        .unwrap_err();
    assert!(
        matches!(error, Error::Layer { source: LayerError::TooLarge { limit }, .. } if limit == 1 << 20),
        "{error:?}"
    );
    fixture.assert_empty();
}

#[test]
fn names_that_lead_out() {
    for archive in [
        entry(EntryType::Regular, "../escape", ""),
        entry(EntryType::Regular, "a/../../escape", ""),
        entry(EntryType::Link, "a", "../../etc/passwd"),
    ] {
        let error = refused_archive(archive);
        assert!(matches!(error, LayerError::Escape { .. }), "{error:?}");
    }
}

#[test]
fn a_file_behind_a_link() {
    let link = entry(EntryType::Symlink, "link", "/etc");
    let through = [&link[..512], &entry(EntryType::Regular, "link/passwd", "")].concat();
    let error = refused_archive(through);
    assert!(
        matches!(error, LayerError::Write(WriteError::NotADirectory { .. })),
        "{error:?}"
    );
}

#[test]
fn marks_and_entries_that_mean_nothing() {
    let root = refused_archive(entry(EntryType::Regular, "./.", ""));
    assert!(matches!(root, LayerError::Root), "{root:?}");
    for name in [".wh.", "a/.wh...", "a/.wh.."] {
        let error = refused_archive(entry(EntryType::Regular, name, ""));
        assert!(
            matches!(error, LayerError::Whiteout { .. }),
            "{name}: {error:?}"
        );
    }
    let unknown = refused_archive(entry(EntryType::new(b'Z'), "a", ""));
    assert!(
        matches!(
            unknown,
            LayerError::Tar(TarError::UnknownType { kind: b'Z', .. })
        ),
        "{unknown:?}"
    );
}

#[test]
fn types_that_are_no_image() {
    let error = broken(&two_layers(), |layout| {
        layout.manifest["layers"][0]["mediaType"] =
            json!("application/vnd.cncf.helm.chart.content.v1.tar+gzip");
    });
    assert!(
        matches!(
            &error,
            Error::Manifest(ManifestError::MediaType {
                document: "layer",
                ..
            })
        ),
        "{error:?}"
    );
    let error = broken(&two_layers(), |layout| {
        layout.manifest["config"] = layout.blob("application/vnd.cncf.helm.config.v1+json", b"{}");
    });
    assert!(
        matches!(
            &error,
            Error::Manifest(ManifestError::MediaType {
                document: "configuration",
                ..
            })
        ),
        "{error:?}"
    );
    let error = broken(&two_layers(), |layout| {
        layout.manifest["mediaType"] =
            json!("application/vnd.docker.distribution.manifest.v1+json");
    });
    assert!(
        matches!(
            &error,
            Error::Manifest(ManifestError::MediaType {
                document: "manifest",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn documents_with_wrong_digests() {
    let error = broken(&two_layers(), |layout| {
        let image = layout.image();
        fs::write(layout.blob_path(image["digest"].as_str().unwrap()), b"{}").unwrap();
        layout.index["manifests"] = json!([image]);
    });
    assert!(
        matches!(
            &error,
            Error::Manifest(ManifestError::Digest {
                document: "manifest",
                ..
            })
        ),
        "{error:?}"
    );
    let error = broken(&two_layers(), |layout| {
        let image = layout.image();
        let config = layout.manifest["config"]["digest"].as_str().unwrap();
        fs::write(layout.blob_path(config), b"{}").unwrap();
        layout.index["manifests"] = json!([image]);
    });
    assert!(
        matches!(
            &error,
            Error::Manifest(ManifestError::Digest {
                document: "configuration",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn documents_that_disagree() {
    let error = broken(&two_layers(), |layout| {
        layout.manifest["layers"].as_array_mut().unwrap().pop();
    });
    assert!(
        matches!(
            error,
            Error::Manifest(ManifestError::LayerCount {
                layers: 1,
                diff_ids: 2,
                ..
            })
        ),
        "{error:?}"
    );
    let error = broken(&[], |_| {});
    assert!(
        matches!(
            error,
            Error::Manifest(ManifestError::Layers { layers: 0, .. })
        ),
        "{error:?}"
    );
    let error = broken(&two_layers(), |layout| {
        layout.config["architecture"] = json!("s390x");
    });
    assert!(
        matches!(error, Error::Manifest(ManifestError::WrongPlatform { .. })),
        "{error:?}"
    );
}

#[test]
fn documents_that_are_too_long() {
    let error = broken(&two_layers(), |layout| {
        layout.config["history"] = json!([{"comment": "x".repeat(5 << 20)}]);
    });
    assert!(
        matches!(
            error,
            Error::Manifest(ManifestError::TooLong {
                document: "configuration",
                ..
            })
        ),
        "{error:?}"
    );
}

#[test]
fn files_that_are_missing() {
    let error = broken(&two_layers(), |layout| {
        fs::remove_file(layout.layer_path(1)).unwrap();
    });
    assert!(
        matches!(error, Error::Archive(ArchiveError::Missing { .. })),
        "{error:?}"
    );
    let fixture = Fixture::new();
    fs::create_dir(fixture.path("nothing")).unwrap();
    let error = load(
        &fixture,
        &format!("oci:{}", fixture.path("nothing").display()),
    )
    .unwrap_err();
    assert!(error.to_string().contains("has no `oci-layout`"), "{error}");
    fixture.assert_empty();
}

#[test]
fn a_platform_that_an_index_does_not_have() {
    let fixture = Fixture::new();
    let mut layout = Layout::new(&fixture.path("layout"), &two_layers());
    let mut image = layout.image();
    image["platform"] = json!({"os": "linux", "architecture": "s390x"});
    let index = layout.nested_index(&[image]);
    layout.index["manifests"] = json!([index]);
    let error = load(&fixture, &layout.finish()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("the image has nothing for linux/amd64; it has linux/s390x"),
        "{error}"
    );
    fixture.assert_empty();
}

#[test]
fn an_archive_of_something_else() {
    let fixture = Fixture::new();
    for content in [
        files(&[("etc/passwd", b"root")]),
        gzip(&files(&[("etc/passwd", b"root")])),
    ] {
        let path = fixture.path("root.tar");
        fs::write(&path, content).unwrap();
        let error = fixture
            .store
            .load(&cenote_image::Source::from_path(&path), None, &Silent)
            .unwrap_err();
        assert!(
            matches!(error, Error::Archive(ArchiveError::Neither(_))),
            "{error:?}"
        );
        fixture.assert_empty();
    }
}

#[test]
fn a_layer_of_many_compressed_members_is_accepted() {
    let archive = files(&[("a", b"one"), ("b", &[7; 9000])]);
    let (first, second) = archive.split_at(700);
    let layer = Layer {
        media_type: GZIP.to_owned(),
        blob: [gzip(first), gzip(second)].concat(),
        archive,
    };
    let fixture = Fixture::new();
    let layout = Layout::new(&fixture.path("layout"), &[layer]);
    assert!(load(&fixture, &layout.finish()).is_ok());
}
