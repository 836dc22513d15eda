//! `cenote image ls`: which images there are.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_image::Image;
use clap::Args;
use serde::Serialize;

use crate::flags::size::Size;
use crate::output::listing::{self, Format, Row};

/// List images
#[derive(Debug, Args)]
pub struct Ls {
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

/// An image under one of its names, or without one.
#[derive(Debug, Serialize)]
struct Line {
    name: Option<String>,
    id: String,
    digest: String,
    /// Bytes on disk, those shared with other images included.
    size: u64,
    /// RFC 3339, where the image says.
    created: Option<String>,
    layers: usize,
}

impl Row for Line {
    const TITLES: &'static [&'static str] = &["NAME", "ID", "CREATED", "SIZE", "LAYERS"];

    fn cells(&self) -> Vec<String> {
        let id = self.id.strip_prefix("sha256:").unwrap_or(&self.id);
        vec![
            self.name.clone().unwrap_or_else(|| "<none>".to_owned()),
            id.chars().take(12).collect(),
            self.created
                .as_deref()
                .and_then(|time| time.get(..10))
                .unwrap_or("-")
                .to_owned(),
            Size(self.size).to_string(),
            self.layers.to_string(),
        ]
    }
}

/// One line for each name of the image.
fn lines(image: &Image) -> Vec<Line> {
    let line = |name: Option<String>| Line {
        name,
        id: image.id.to_string(),
        digest: image.digest.to_string(),
        size: image.size,
        created: image.created.clone(),
        layers: image.layers.len(),
    };
    match image.references.as_slice() {
        [] => vec![line(None)],
        names => names
            .iter()
            .map(|name| line(Some(name.to_string())))
            .collect(),
    }
}

impl Ls {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let images = super::store()?.list()?;
        if self.quiet {
            let mut out = io::stdout().lock();
            for image in &images {
                writeln!(out, "{}", image.id.short())?;
            }
        } else {
            let lines: Vec<_> = images.iter().flat_map(lines).collect();
            listing::print(self.format, &lines)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
