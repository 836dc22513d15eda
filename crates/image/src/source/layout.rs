//! OCI image layouts (image specification, "Image Layout"): a folder of blobs by digest, and an index of the images in it.

use std::io::Read;

use serde::Deserialize;

use super::assemble::{Documents, assemble};
use super::place::{ArchiveError, Place, blob_name};
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{Descriptor, Index};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Image, LayerBlob, LayerBlobs, Store};

pub(super) const LAYOUT: &str = "oci-layout";
const INDEX: &str = "index.json";
const VERSION: &str = "1.0.0";
/// A tag or a whole name (OCI image specification, "Annotations").
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// A whole name, in what containerd and docker write.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Loads the image called `name`, or all images for `platform`.
pub(super) fn load(
    store: &Store,
    place: &Place,
    name: Option<&str>,
    platform: Option<&Platform>,
    progress: &dyn Progress,
) -> Result<Vec<Image>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layout {
        image_layout_version: String,
    }
    let layout: Layout = place.json(LAYOUT)?;
    if layout.image_layout_version != VERSION {
        return Err(ArchiveError::Version {
            place: place.path.clone(),
            version: layout.image_layout_version,
        }
        .into());
    }
    let index: Index = place.json(INDEX)?;
    let source = Layers(place);
    let mut images: Vec<Image> = Vec::new();
    for descriptor in choose(place, &index, name, platform)? {
        let references = reference(place, descriptor, index.manifests.len() == 1);
        let candidate = assemble(
            &source,
            descriptor,
            platform,
            references.into_iter().collect(),
        )?;
        images.push(store.install(&candidate, &candidate.layers(), &source, progress)?);
    }
    Ok(images)
}

/// The images to load: the one with the name, or all. Of several without names but with platforms, the one that fits.
fn choose<'a>(
    place: &Place,
    index: &'a Index,
    name: Option<&str>,
    platform: Option<&Platform>,
) -> Result<Vec<&'a Descriptor>> {
    let manifests = index.manifests.iter();
    if let Some(name) = name {
        return match manifests
            .clone()
            .find(|descriptor| names(descriptor).any(|known| known == name))
        {
            Some(found) => Ok(vec![found]),
            None => Err(ArchiveError::NoImage {
                place: place.path.clone(),
                name: name.to_owned(),
                offered: match manifests.flat_map(names).collect::<Vec<_>>() {
                    none if none.is_empty() => "no names".to_owned(),
                    some => some.join(", "),
                },
            }
            .into()),
        };
    }
    let nameless_for_platforms = |descriptor: &Descriptor| {
        descriptor.platform.is_some() && names(descriptor).next().is_none()
    };
    match index.manifests.len() > 1 && manifests.clone().all(nameless_for_platforms) {
        true => Ok(vec![index.choose(platform.unwrap_or(&Platform::host()))?]),
        false => Ok(manifests.collect()),
    }
}

fn names(descriptor: &Descriptor) -> impl Iterator<Item = &str> {
    let annotations = descriptor.annotations.iter();
    annotations.flat_map(|annotations| {
        [IMAGE_NAME, REF_NAME]
            .into_iter()
            .filter_map(|key| annotations.get(key).map(String::as_str))
    })
}

/// What to call an image: the whole name that it is annotated with; a bare tag makes it `localhost/<name of the layout>:<tag>`.
fn reference(place: &Place, descriptor: &Descriptor, only: bool) -> Option<Reference> {
    let is_whole = |name: &&str| name.contains(['/', ':']);
    if let Some(reference) = names(descriptor)
        .filter(is_whole)
        .find_map(|name| Reference::candidates(name).ok())
    {
        return reference.into_iter().next();
    }
    let tag = match names(descriptor).next() {
        Some(tag) => tag,
        None if only => "latest",
        None => return None,
    };
    let stem = place.path.file_name()?.to_str()?;
    let stem = [".tar", ".tar.gz", ".tgz", ".tar.zst"]
        .iter()
        .find_map(|end| stem.strip_suffix(end))
        .unwrap_or(stem);
    Reference::local(&format!("{}:{tag}", stem.to_ascii_lowercase())).ok()
}

struct Layers<'a>(&'a Place);

impl Documents for Layers<'_> {
    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.0.read(&blob_name(digest))
    }

    fn config(&self, digest: &Digest) -> Result<Vec<u8>> {
        self.0.read(&blob_name(digest))
    }
}

impl LayerBlobs for Layers<'_> {
    fn open(&self, layer: &LayerBlob) -> Result<Box<dyn Read + Send + '_>> {
        Ok(self.0.open(&blob_name(&layer.blob))?.0)
    }
}
