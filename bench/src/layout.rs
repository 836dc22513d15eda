//! An image as a folder in OCI layout (OCI image specification 1.1, "Image Layout"), made of compressed layers.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Writes `layers` (gzip-compressed archives, bottom first) as an image called `name` into the new folder `folder`.
///
/// # Errors
/// When a file cannot be read or written.
pub fn write(folder: &Path, name: &str, layers: &[PathBuf]) -> anyhow::Result<()> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let (mut described, mut diff_ids) = (Vec::new(), Vec::new());
    for layer in layers {
        let digest = digest(File::open(layer)?)?;
        diff_ids.push(json!(format!(
            "sha256:{}",
            self::digest(GzDecoder::new(File::open(layer)?))?
        )));
        let size = fs::copy(layer, blobs.join(&digest))?;
        described
            .push(json!({"mediaType": LAYER, "digest": format!("sha256:{digest}"), "size": size}));
    }
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {"Cmd": ["true"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = document(&blobs, CONFIG, &config)?;
    let manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": described});
    let mut manifest = document(&blobs, MANIFEST, &manifest)?;
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    fs::write(
        folder.join("index.json"),
        json!({"schemaVersion": 2, "manifests": [manifest]}).to_string(),
    )?;
    fs::write(
        folder.join("oci-layout"),
        json!({"imageLayoutVersion": "1.0.0"}).to_string(),
    )?;
    Ok(())
}

/// Writes a document as a blob and answers its descriptor.
fn document(blobs: &Path, media_type: &str, value: &Value) -> anyhow::Result<Value> {
    let text = value.to_string();
    let digest = digest(text.as_bytes())?;
    File::create(blobs.join(&digest))?.write_all(text.as_bytes())?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": text.len()}))
}

fn digest(mut content: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
#[path = "layout_test.rs"]
mod tests;
