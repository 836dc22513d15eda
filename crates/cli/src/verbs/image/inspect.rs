//! `cenote image inspect`: everything about an image, as JSON.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use cenote_image::Image;
use clap::Args;
use oci_spec::image::ImageConfiguration;
use serde::Serialize;

use crate::output::listing;

/// Show everything about images, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Details {
    id: String,
    digest: String,
    references: Vec<String>,
    /// Bytes on disk, those shared with other images included.
    size: u64,
    created: Option<String>,
    /// The EROFS image of the merged tree.
    meta: PathBuf,
    /// The EROFS images of the layers, bottom first.
    layers: Vec<PathBuf>,
    config: ImageConfiguration,
}

impl From<Image> for Details {
    fn from(image: Image) -> Self {
        Self {
            id: image.id.to_string(),
            digest: image.digest.to_string(),
            references: image.references.iter().map(ToString::to_string).collect(),
            size: image.size,
            created: image.created,
            meta: image.meta,
            layers: image.layers,
            config: image.config,
        }
    }
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        let images = self
            .images
            .iter()
            .map(|name| store.resolve(name))
            .collect::<Result<Vec<_>, _>>()?;
        let details: Vec<Details> = images.into_iter().map(Details::from).collect();
        listing::json(&mut io::stdout().lock(), &details)?;
        Ok(ExitCode::SUCCESS)
    }
}
