//! Image manifests, indexes and configurations, of OCI (image specification 1.1) and of Docker (schema 2): the same JSON under two names.

use std::collections::BTreeMap;

use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};
use crate::platform::Platform;

/// Longest manifest, index or configuration that is read. Registries accept manifests of up to 4 MiB.
pub const MAX_DOCUMENT: u64 = 4 << 20;
/// Engines stop at 127 layers; the merger takes 256.
const MAX_LAYERS: usize = 256;

pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
pub(crate) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";

const CONFIGS: [&str; 2] = [OCI_CONFIG, "application/vnd.docker.container.image.v1+json"];
const LAYERS: [&str; 9] = [
    OCI_LAYER,
    "application/vnd.oci.image.layer.v1.tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd",
    "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar",
    "application/vnd.docker.image.rootfs.diff.tar.gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd",
];

/// Why a manifest, an index or a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is not the JSON that its media type promises.
    #[error("the {document} {digest} is malformed: {source}")]
    Json {
        /// Which document.
        document: &'static str,
        /// Its digest.
        digest: Digest,
        /// What the parser says.
        source: serde_json::Error,
    },
    /// Its bytes are not the ones that its digest names.
    #[error("the {document} is not what its digest says: expected {expected}, got {actual}")]
    Digest {
        /// Which document.
        document: &'static str,
        /// The digest that names it.
        expected: Digest,
        /// Of what arrived.
        actual: Digest,
    },
    /// It is longer than a document may be.
    #[error("the {document} {digest} is longer than {MAX_DOCUMENT} bytes")]
    TooLong {
        /// Which document.
        document: &'static str,
        /// Its digest.
        digest: Digest,
    },
    /// It is of a kind that is no image: a signature, a chart, an old schema.
    #[error("the {document} {digest} has the media type `{media_type}`, which is not supported")]
    MediaType {
        /// Which document or blob.
        document: &'static str,
        /// Its digest.
        digest: Digest,
        /// What it says it is.
        media_type: String,
    },
    /// An index has nothing for the platform.
    #[error("the image has nothing for {wanted}; it has {offered}; choose with --platform")]
    NoPlatform {
        /// What was looked for.
        wanted: Box<Platform>,
        /// What the index has.
        offered: String,
    },
    /// An image for another platform than the one asked for.
    #[error("the image is for {found}, not for {wanted}; choose with --platform")]
    WrongPlatform {
        /// What was looked for.
        wanted: Box<Platform>,
        /// What the configuration says.
        found: Box<Platform>,
    },
    /// The manifest and the configuration disagree on the number of layers.
    #[error(
        "image {config} has {layers} layers in its manifest and {diff_ids} in its configuration"
    )]
    LayerCount {
        /// The configuration's digest.
        config: Digest,
        /// Number in the manifest.
        layers: usize,
        /// Number in the configuration.
        diff_ids: usize,
    },
    /// No layers, or more than any engine makes.
    #[error("image {config} has {layers} layers; 1 to {MAX_LAYERS} are possible")]
    Layers {
        /// The configuration's digest.
        config: Digest,
        /// How many.
        layers: usize,
    },
    /// A diff id in the configuration is no digest.
    #[error("image {config} has a bad diff id: {source}")]
    DiffId {
        /// The configuration's digest.
        config: Digest,
        /// What is wrong with it.
        source: DigestError,
    },
    /// An index inside of an index inside of an index.
    #[error("the index {0} is nested too deeply")]
    Nested(Digest),
}

/// A reference to a blob (OCI image specification, "Descriptor").
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

/// An image: its configuration and its layers, bottom first.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// Several images, one for each platform.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

/// What a document with a `manifests` or a `config` field is.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Parses `bytes`, whose digest has been checked. The document's own `mediaType` counts, then `media_type` from outside of it, then its fields.
    pub(crate) fn parse(
        bytes: &[u8],
        digest: Digest,
        media_type: Option<&str>,
    ) -> Result<Document, ManifestError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Head {
            media_type: Option<String>,
            #[serde(default)]
            manifests: Option<serde::de::IgnoredAny>,
        }
        let json = |document| {
            move |source| ManifestError::Json {
                document,
                digest,
                source,
            }
        };
        let head: Head = serde_json::from_slice(bytes).map_err(json("manifest"))?;
        let media_type = head.media_type.as_deref().or(media_type);
        let is_index = match media_type {
            Some(OCI_INDEX | DOCKER_LIST) => true,
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => false,
            None => head.manifests.is_some(),
            Some(other) => {
                return Err(ManifestError::MediaType {
                    document: "manifest",
                    digest,
                    media_type: other.to_owned(),
                });
            }
        };
        Ok(match is_index {
            true => Document::Index(serde_json::from_slice(bytes).map_err(json("index"))?),
            false => Document::Manifest(serde_json::from_slice(bytes).map_err(json("manifest"))?),
        })
    }
}

impl Index {
    /// The entry for `platform`. Entries that are no image for any platform (attestations) name the platform `unknown`.
    pub(crate) fn choose(&self, platform: &Platform) -> Result<&Descriptor, ManifestError> {
        let images = || {
            self.manifests
                .iter()
                .filter_map(|entry| Some((entry, entry.platform.as_ref()?)))
        };
        let exact = images().find(|(_, offered)| platform.accepts(offered));
        if let Some((entry, _)) = exact {
            return Ok(entry);
        }
        match &self.manifests[..] {
            [only] if only.platform.is_none() => Ok(only),
            _ => {
                let offered: Vec<_> = images().map(|(_, offered)| offered.to_string()).collect();
                Err(ManifestError::NoPlatform {
                    wanted: Box::new(platform.clone()),
                    offered: match offered.is_empty() {
                        true => "no platform at all".to_owned(),
                        false => offered.join(", "),
                    },
                })
            }
        }
    }
}

/// Checks a document's length and digest.
pub(crate) fn verify(
    bytes: &[u8],
    expected: Digest,
    document: &'static str,
) -> Result<(), ManifestError> {
    if bytes.len() as u64 > MAX_DOCUMENT {
        return Err(ManifestError::TooLong {
            document,
            digest: expected,
        });
    }
    let actual = Digest::of(bytes);
    match actual == expected {
        true => Ok(()),
        false => Err(ManifestError::Digest {
            document,
            expected,
            actual,
        }),
    }
}

/// A configuration and the diff ids in it, bottom first.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) image: ImageConfiguration,
    pub(crate) diff_ids: Vec<Digest>,
}

impl Config {
    /// Parses a configuration whose digest has been checked.
    pub(crate) fn parse(bytes: &[u8], config: Digest) -> Result<Config, ManifestError> {
        let image: ImageConfiguration =
            serde_json::from_slice(bytes).map_err(|source| ManifestError::Json {
                document: "configuration",
                digest: config,
                source,
            })?;
        let diff_ids = image
            .rootfs()
            .diff_ids()
            .iter()
            .map(|text| {
                text.parse()
                    .map_err(|source| ManifestError::DiffId { config, source })
            })
            .collect::<Result<Vec<Digest>, _>>()?;
        match diff_ids.len() {
            1..=MAX_LAYERS => Ok(Config { image, diff_ids }),
            layers => Err(ManifestError::Layers { config, layers }),
        }
    }

    /// The platform that the image is for.
    pub(crate) fn platform(&self) -> Platform {
        Platform {
            os: self.image.os().to_string(),
            architecture: self.image.architecture().to_string(),
            variant: self.image.variant().clone(),
        }
    }

    /// The digest that stands for the whole stack of layers (OCI image specification, "Layer ChainID").
    pub(crate) fn chain_id(&self) -> Digest {
        let mut diff_ids = self.diff_ids.iter();
        let bottom = *diff_ids
            .next()
            .expect("parse() refuses an image without layers");
        diff_ids.fold(bottom, |chain, diff_id| {
            Digest::of(format!("{chain} {diff_id}").as_bytes())
        })
    }
}

impl Manifest {
    /// The manifest of an image whose layers are plain archives: digest and length of each, and of its configuration.
    pub(crate) fn of(
        config: (Digest, u64),
        layers: impl IntoIterator<Item = (Digest, u64)>,
    ) -> Manifest {
        let descriptor = |media_type: &str, (digest, size)| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
        };
        let layers = layers.into_iter();
        Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: descriptor(OCI_CONFIG, config),
            layers: layers.map(|layer| descriptor(OCI_LAYER, layer)).collect(),
        }
    }

    /// Refuses what is no image: configurations and layers of unknown types, another number of layers than `config` has.
    pub(crate) fn check(&self, config: &Config) -> Result<(), ManifestError> {
        let unknown = |document, descriptor: &Descriptor| ManifestError::MediaType {
            document,
            digest: descriptor.digest,
            media_type: descriptor.media_type.clone(),
        };
        if let Some(layer) = self
            .layers
            .iter()
            .find(|layer| !LAYERS.contains(&&layer.media_type[..]))
        {
            return Err(unknown("layer", layer));
        }
        match self.layers.len() == config.diff_ids.len() {
            true => Ok(()),
            false => Err(ManifestError::LayerCount {
                config: self.config.digest,
                layers: self.layers.len(),
                diff_ids: config.diff_ids.len(),
            }),
        }
    }

    /// Refuses a manifest whose configuration is none of an image, before it is fetched.
    pub(crate) fn check_config_type(&self) -> Result<(), ManifestError> {
        match CONFIGS.contains(&&self.config.media_type[..]) {
            true => Ok(()),
            false => Err(ManifestError::MediaType {
                document: "configuration",
                digest: self.config.digest,
                media_type: self.config.media_type.clone(),
            }),
        }
    }
}
