//! From a descriptor to an image that can be installed: index, manifest, configuration, each checked by its digest.

use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{self, Config, Descriptor, Document, Manifest, ManifestError};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Candidate, LayerBlob};

/// An index of indexes is allowed by the specification and written by buildx; more is not seen.
const MAX_DEPTH: usize = 4;

/// Where documents come from, by digest.
pub(crate) trait Documents {
    /// The bytes of a manifest or an index. They need not be checked; more than 4 MiB need not be read.
    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>>;

    /// The bytes of a configuration, likewise.
    fn config(&self, digest: &Digest) -> Result<Vec<u8>>;
}

/// Follows `root` to the image for `platform`.
pub(crate) fn assemble(
    documents: &dyn Documents,
    root: &Descriptor,
    platform: Option<&Platform>,
    references: Vec<Reference>,
) -> Result<Candidate> {
    let host = Platform::host();
    let wanted = platform.unwrap_or(&host);
    let mut descriptor = root.clone();
    let mut index = None;
    for _ in 0..MAX_DEPTH {
        let bytes = checked(&descriptor, "manifest", |digest| documents.manifest(digest))?;
        let media_type =
            Some(&descriptor.media_type[..]).filter(|media_type| !media_type.is_empty());
        match Document::parse(&bytes, descriptor.digest, media_type)? {
            Document::Manifest(manifest) => {
                return complete(documents, bytes, manifest, index, wanted, references);
            }
            Document::Index(list) => {
                index.get_or_insert(descriptor.digest);
                descriptor = list.choose(wanted)?.clone();
            }
        }
    }
    Err(ManifestError::Nested(root.digest).into())
}

fn complete(
    documents: &dyn Documents,
    manifest_bytes: Vec<u8>,
    manifest: Manifest,
    index: Option<Digest>,
    wanted: &Platform,
    references: Vec<Reference>,
) -> Result<Candidate> {
    manifest.check_config_type()?;
    let config_bytes = checked(&manifest.config, "configuration", |digest| {
        documents.config(digest)
    })?;
    let config = Config::parse(&config_bytes, manifest.config.digest)?;
    manifest.check(&config)?;
    let found = config.platform();
    if !wanted.accepts(&found) {
        return Err(ManifestError::WrongPlatform {
            wanted: Box::new(wanted.clone()),
            found: Box::new(found),
        }
        .into());
    }
    Ok(Candidate {
        manifest_bytes,
        manifest,
        config_bytes,
        config,
        index,
        references,
    })
}

fn checked(
    descriptor: &Descriptor,
    what: &'static str,
    fetch: impl FnOnce(&Digest) -> Result<Vec<u8>>,
) -> Result<Vec<u8>> {
    if descriptor.size > manifest::MAX_DOCUMENT {
        return Err(ManifestError::TooLong {
            document: what,
            digest: descriptor.digest,
        }
        .into());
    }
    let bytes = fetch(&descriptor.digest)?;
    manifest::verify(&bytes, descriptor.digest, what)?;
    Ok(bytes)
}

impl Candidate {
    /// The layers as the manifest describes them.
    pub(crate) fn layers(&self) -> Vec<LayerBlob> {
        let pairs = self.manifest.layers.iter().zip(&self.config.diff_ids);
        pairs
            .enumerate()
            .map(|(position, (layer, diff_id))| LayerBlob {
                position,
                blob: layer.digest,
                size: layer.size,
                diff_id: *diff_id,
                has_digest: true,
            })
            .collect()
    }
}
