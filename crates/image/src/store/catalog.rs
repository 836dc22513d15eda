//! Which images there are and what they are called.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Image, Store, disk};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Config, Document, MAX_DOCUMENT, Manifest};
use crate::reference::{Reference, Version};

/// A name and what it means: one small file in `tags/`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tag {
    pub(super) reference: Reference,
    pub(super) manifest: Digest,
    /// The index that the manifest was chosen from, so that the index' digest finds the image too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) index: Option<Digest>,
}

/// A tag's file holds a reference and two digests.
const MAX_TAG: u64 = 8 << 10;
/// Fewer digits of an id are more likely a mistyped name.
const MIN_ID_DIGITS: usize = 2;

impl Store {
    /// Finds an image by name, id or the beginning of an id.
    ///
    /// A name without a registry is looked for as `localhost/<name>` first. Ids are tried last.
    pub fn resolve(&self, name: &str) -> Result<Image> {
        let tags = self.tags()?;
        let candidates = Reference::candidates(name);
        for reference in candidates.iter().flatten() {
            if let Some(tag) = tags.iter().find(|tag| tag.means(reference)) {
                return self.image(&tag.manifest, &tags);
            }
        }
        if let Some(image) = self.resolve_id(name, &tags)? {
            return Ok(image);
        }
        candidates?;
        Err(Error::NotFound {
            name: name.to_owned(),
        })
    }

    /// All images, those with names first, in the order of their names.
    pub fn list(&self) -> Result<Vec<Image>> {
        let tags = self.tags()?;
        let mut images = self
            .manifests()?
            .iter()
            .map(|digest| self.image(digest, &tags))
            .filter(|image| !image.as_ref().is_err_and(is_lost))
            .collect::<Result<Vec<Image>>>()?;
        images.sort_by_cached_key(|image| {
            (
                image.references.is_empty(),
                image.references.clone(),
                image.id,
            )
        });
        Ok(images)
    }

    fn resolve_id(&self, name: &str, tags: &[Tag]) -> Result<Option<Image>> {
        let prefix = name.strip_prefix("sha256:").unwrap_or(name);
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if prefix.len() < MIN_ID_DIGITS || !prefix.bytes().all(is_hex) {
            return Ok(None);
        }
        let mut found: Vec<Image> = Vec::new();
        for image in self.list()? {
            if image.id.hex().starts_with(prefix) && !found.iter().any(|other| other.id == image.id)
            {
                found.push(image);
            }
        }
        match found.len() {
            0 => Ok(None),
            1 => self.image(&found[0].digest, tags).map(Some),
            count => Err(Error::Ambiguous {
                prefix: prefix.to_owned(),
                count,
            }),
        }
    }

    /// The digests of all manifests.
    pub(super) fn manifests(&self) -> Result<Vec<Digest>> {
        let mut entries = Vec::new();
        for folder in self.folders("manifests") {
            entries.extend(disk::entries(&folder)?);
        }
        let digests = entries
            .into_iter()
            .map(|entry| {
                let name = entry.file_name();
                name.to_str()
                    .and_then(|name| Digest::from_hex(name).ok())
                    .ok_or_else(|| Error::Damaged {
                        path: entry.path(),
                        problem: "its name is no digest".to_owned(),
                    })
            })
            .collect::<Result<BTreeSet<Digest>>>()?;
        Ok(digests.into_iter().collect())
    }

    /// All names. One that this store gives hides the same one of the outer store.
    pub(super) fn tags(&self) -> Result<Vec<Tag>> {
        let mut tags: Vec<Tag> = Vec::new();
        for folder in self.folders("tags") {
            for entry in disk::entries(&folder)? {
                let path = entry.path();
                let Some(text) = disk::read(&path, MAX_TAG)? else {
                    continue;
                };
                let tag: Tag = serde_json::from_slice(&text).map_err(|error| Error::Damaged {
                    path,
                    problem: error.to_string(),
                })?;
                if tags.iter().all(|other| other.reference != tag.reference) {
                    tags.push(tag);
                }
            }
        }
        Ok(tags)
    }

    pub(super) fn write_tag(&self, tag: &Tag) -> Result<()> {
        let text = serde_json::to_vec(tag).expect("references and digests are JSON");
        self.publish(&self.tag_path(&tag.reference), &text)
    }

    /// References may be longer than file names, so the file is named by the reference's digest.
    pub(super) fn tag_path(&self, reference: &Reference) -> PathBuf {
        let name = Digest::of(reference.to_string().as_bytes()).hex();
        self.folder.join("tags").join(name)
    }

    pub(super) fn image(&self, digest: &Digest, tags: &[Tag]) -> Result<Image> {
        let (manifest, config) = self.documents(digest)?;
        let meta = self.find(self.meta_path(&config.chain_id()));
        let layers: Vec<PathBuf> = config
            .diff_ids
            .iter()
            .map(|diff_id| self.find(self.layer_path(diff_id)))
            .collect();
        let mut distinct: Vec<&PathBuf> = layers.iter().chain([&meta]).collect();
        distinct.sort_unstable();
        distinct.dedup();
        let mut references: Vec<Reference> = tags
            .iter()
            .filter(|tag| tag.manifest == *digest)
            .map(|tag| tag.reference.clone())
            .collect();
        references.sort_unstable();
        Ok(Image {
            id: manifest.config.digest,
            digest: *digest,
            references,
            created: config.image.created().clone(),
            config: config.image,
            size: distinct.iter().map(|path| disk::bytes_on_disk(path)).sum(),
            meta,
            layers,
        })
    }

    /// A manifest of the store and its configuration.
    pub(super) fn documents(&self, digest: &Digest) -> Result<(Manifest, Config)> {
        let path = self.find(self.manifest_path(digest));
        let Some(text) = disk::read(&path, MAX_DOCUMENT)? else {
            return Err(Error::NotFound {
                name: digest.to_string(),
            });
        };
        let Document::Manifest(manifest) = Document::parse(&text, *digest, None)? else {
            return Err(Error::Damaged {
                path,
                problem: "it is an index".to_owned(),
            });
        };
        let id = manifest.config.digest;
        let path = self.find(self.config_path(&id));
        let Some(text) = disk::read(&path, MAX_DOCUMENT)? else {
            return Err(Error::Damaged {
                path,
                problem: "it is missing".to_owned(),
            });
        };
        let config = Config::parse(&text, id)?;
        Ok((manifest, config))
    }
}

/// Whether an error means that one image is gone or damaged, which is no reason not to see the others. What is gone was removed by
/// another process just now.
pub(super) fn is_lost(error: &Error) -> bool {
    match error {
        Error::NotFound { .. } => true,
        Error::Damaged { .. } | Error::Manifest(_) => {
            tracing::warn!(%error, "an image is passed over");
            true
        }
        _ => false,
    }
}

impl Tag {
    /// Whether this is what `reference` asks for: the same name, or an image of the same repository by its digest.
    fn means(&self, reference: &Reference) -> bool {
        let same_repository = self.reference.registry() == reference.registry()
            && self.reference.repository() == reference.repository();
        match reference.version() {
            Version::Tag(_) => self.reference == *reference,
            Version::Digest(digest) => {
                same_repository && (self.manifest == *digest || self.index == Some(*digest))
            }
        }
    }
}
