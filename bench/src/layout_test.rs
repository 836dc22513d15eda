use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::write;

#[test]
fn the_layout_names_blobs_by_digest_and_the_archive_by_diff_id() {
    let folder = tempfile::tempdir().unwrap();
    let layer = folder.path().join("layer.tar.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&layer).unwrap(), Compression::fast());
    gzip.write_all(b"abc").unwrap();
    gzip.finish().unwrap();
    let layout = folder.path().join("layout");
    write(&layout, "localhost/x:1", &[layer]).unwrap();
    let blob = |descriptor: &serde_json::Value| {
        let digest = descriptor["digest"]
            .as_str()
            .unwrap()
            .strip_prefix("sha256:")
            .unwrap();
        let text = std::fs::read(layout.join("blobs/sha256").join(digest)).unwrap();
        assert_eq!(text.len() as u64, descriptor["size"].as_u64().unwrap());
        text
    };
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(layout.join("index.json")).unwrap()).unwrap();
    let manifest: serde_json::Value =
        serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
    let config: serde_json::Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    // FIPS 180-4's own example.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!([abc]));
    assert!(blob(&manifest["layers"][0]).starts_with(&[0x1f, 0x8b]));
}
