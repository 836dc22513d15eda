//! An OCI layout made here, so that one thing in it can be broken.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use cenote_image::Digest;
use serde_json::{Value, json};

pub const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// A layer: an archive and the blob that is made of it.
pub struct Layer {
    pub media_type: String,
    pub archive: Vec<u8>,
    pub blob: Vec<u8>,
}

impl Layer {
    pub fn gzip(archive: Vec<u8>) -> Layer {
        Layer {
            media_type: GZIP.to_owned(),
            blob: gzip(&archive),
            archive,
        }
    }

    pub fn zstd(archive: Vec<u8>) -> Layer {
        Layer {
            media_type: ZSTD.to_owned(),
            blob: zstd::encode_all(&archive[..], 1).unwrap(),
            archive,
        }
    }
}

pub fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// An archive of regular files.
pub fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// An archive of one entry with any name, which `tar::Builder` would refuse.
pub fn entry(kind: tar::EntryType, name: &str, link: &str) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(0);
    header.set_cksum();
    let mut archive = header.as_bytes().to_vec();
    archive.resize(1536, 0);
    archive
}

/// A layout with one image, or with what a test has made of it.
pub struct Layout {
    path: PathBuf,
    pub config: Value,
    pub manifest: Value,
    pub index: Value,
}

impl Layout {
    /// A valid image of `layers`, not yet with its documents.
    pub fn new(path: &Path, layers: &[Layer]) -> Layout {
        fs::create_dir_all(path.join("blobs/sha256")).unwrap();
        fs::write(path.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        let mut layout = Layout {
            path: path.to_owned(),
            config: json!({
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["sh"]},
                "rootfs": {
                    "type": "layers",
                    "diff_ids": layers.iter().map(|layer| Digest::of(&layer.archive).to_string()).collect::<Vec<_>>(),
                },
            }),
            manifest: json!({"schemaVersion": 2, "mediaType": MANIFEST}),
            index: json!({"schemaVersion": 2, "manifests": []}),
        };
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| layout.blob(&layer.media_type, &layer.blob))
            .collect();
        layout.manifest["layers"] = descriptors.into();
        layout
    }

    /// Adds a blob and gives its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        fs::write(self.blob_path(&digest.to_string()), bytes).unwrap();
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()})
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.path
            .join("blobs/sha256")
            .join(&digest["sha256:".len()..])
    }

    /// The file of the layer at `position`.
    pub fn layer_path(&self, position: usize) -> PathBuf {
        self.blob_path(
            self.manifest["layers"][position]["digest"]
                .as_str()
                .unwrap(),
        )
    }

    /// Writes the configuration and the manifest, and gives the manifest's descriptor.
    pub fn image(&mut self) -> Value {
        if self.manifest["config"].is_null() {
            let config = serde_json::to_vec(&self.config).unwrap();
            self.manifest["config"] = self.blob(CONFIG, &config);
        }
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        self.blob(MANIFEST, &manifest)
    }

    /// Writes everything that is missing, and gives the source to load.
    pub fn finish(mut self) -> String {
        if self.index["manifests"] == json!([]) {
            let image = self.image();
            self.index["manifests"] = json!([image]);
        }
        fs::write(
            self.path.join("index.json"),
            serde_json::to_vec(&self.index).unwrap(),
        )
        .unwrap();
        format!("oci:{}", self.path.display())
    }

    /// An index blob of `images`, which have platforms, and its descriptor.
    pub fn nested_index(&mut self, images: &[Value]) -> Value {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": images});
        self.blob(INDEX, &serde_json::to_vec(&index).unwrap())
    }
}
