//! Docker archives (Docker image specification 1.2, "Combined Image JSON + Filesystem Changeset Format"): what `docker save` writes.
//!
//! They name layers by path, without digests; what the configuration says of each layer's content proves it. The manifest is made
//! here: its layers are the plain archives.

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::place::{ArchiveError, Place, normalise};
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{self, Config, Manifest, ManifestError};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Candidate, Image, LayerBlob, LayerBlobs, Store};

pub(super) const INDEX: &str = "manifest.json";

/// One image of the archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Loads the image called `name`, or all images. There is one for each name: `platform` only says what to refuse.
pub(super) fn load(
    store: &Store,
    place: &Place,
    name: Option<&str>,
    platform: Option<&Platform>,
    progress: &dyn Progress,
) -> Result<Vec<Image>> {
    let items: Vec<Item> = place.json(INDEX)?;
    let wanted = match name {
        Some(name) => vec![find(place, &items, name)?],
        None => items.iter().collect(),
    };
    let mut images = Vec::new();
    for item in wanted {
        images.push(install(store, place, item, platform, progress)?);
    }
    Ok(images)
}

impl Item {
    /// Its names, local ones first where the registry is left open.
    fn references(&self) -> impl Iterator<Item = Reference> {
        let tags = self.repo_tags.iter().flatten();
        tags.filter_map(|tag| Reference::candidates(tag).ok()?.pop())
    }
}

fn find<'a>(place: &Place, items: &'a [Item], name: &str) -> Result<&'a Item> {
    let candidates = Reference::candidates(name)?;
    let found = items
        .iter()
        .find(|item| item.references().any(|known| candidates.contains(&known)));
    found.ok_or_else(|| {
        let offered: Vec<String> = items
            .iter()
            .flat_map(Item::references)
            .map(|known| known.to_string())
            .collect();
        let error = ArchiveError::NoImage {
            place: place.path.clone(),
            name: name.to_owned(),
            offered: match offered.is_empty() {
                true => "no names".to_owned(),
                false => offered.join(", "),
            },
        };
        error.into()
    })
}

fn install(
    store: &Store,
    place: &Place,
    item: &Item,
    platform: Option<&Platform>,
    progress: &dyn Progress,
) -> Result<Image> {
    let config_bytes = place.read(&inside(place, &item.config)?)?;
    let id = Digest::of(&config_bytes);
    if let Some(expected) = named_digest(&item.config) {
        manifest::verify(&config_bytes, expected, "configuration")?;
    }
    let config = Config::parse(&config_bytes, id)?;
    let (wanted, found) = (
        platform.cloned().unwrap_or_else(Platform::host),
        config.platform(),
    );
    if !wanted.accepts(&found) {
        return Err(ManifestError::WrongPlatform {
            wanted: Box::new(wanted),
            found: Box::new(found),
        }
        .into());
    }
    let mut layers = Vec::new();
    let mut names = Vec::new();
    for (position, (name, diff_id)) in item.layers.iter().zip(&config.diff_ids).enumerate() {
        let name = inside(place, name)?;
        layers.push(LayerBlob {
            position,
            blob: *diff_id,
            size: place.open(&name)?.1,
            diff_id: *diff_id,
            has_digest: false,
        });
        names.push(name);
    }
    let candidate = candidate(
        config_bytes,
        id,
        config,
        &layers,
        item.references().collect(),
    );
    if item.layers.len() != candidate.config.diff_ids.len() {
        return Err(ManifestError::LayerCount {
            config: id,
            layers: item.layers.len(),
            diff_ids: candidate.config.diff_ids.len(),
        }
        .into());
    }
    store.install(&candidate, &layers, &Layers { place, names }, progress)
}

fn candidate(
    config_bytes: Vec<u8>,
    id: Digest,
    config: Config,
    layers: &[LayerBlob],
    references: Vec<Reference>,
) -> Candidate {
    let manifest = Manifest::of(
        (id, config_bytes.len() as u64),
        layers.iter().map(|layer| (layer.diff_id, layer.size)),
    );
    Candidate {
        manifest_bytes: serde_json::to_vec(&manifest).expect("a manifest is JSON"),
        manifest,
        config_bytes,
        config,
        index: None,
        references,
    }
}

/// A file name of the archive as its index has it.
fn inside(place: &Place, name: &str) -> Result<String> {
    let normalised = normalise(name.as_bytes()).and_then(|name| String::from_utf8(name).ok());
    normalised.ok_or_else(|| place.escape(name))
}

/// The digest in `<digest>.json` or `blobs/sha256/<digest>`.
fn named_digest(name: &str) -> Option<Digest> {
    let stem = Path::new(name).file_stem()?.to_str()?;
    Digest::from_hex(stem).ok()
}

struct Layers<'a> {
    place: &'a Place,
    names: Vec<String>,
}

impl LayerBlobs for Layers<'_> {
    fn open(&self, layer: &LayerBlob) -> Result<Box<dyn Read + Send + '_>> {
        Ok(self.place.open(&self.names[layer.position])?.0)
    }
}
