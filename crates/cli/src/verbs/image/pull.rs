//! `cenote pull`: fetch an image from a registry.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::verbs::container;
use crate::verbs::fetch;

/// Fetch images from a registry, a folder or an archive
#[derive(Debug, Args)]
pub struct Pull {
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// References, oci:FOLDER, oci-archive:FILE or docker-archive:FILE
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<String>,
}

impl Pull {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        for name in &self.images {
            let image = fetch::image(&store, name, container::Pull::Always, self.quiet)?;
            writeln!(io::stdout(), "{}", image.id)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
