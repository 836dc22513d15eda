//! `cenote load`: images from an archive or a folder.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use cenote_image::Source;
use clap::Args;

use crate::output::progress;

/// Load images from an archive of OCI or docker, or from a folder in OCI layout
#[derive(Debug, Args)]
pub struct Load {
    /// The archive or folder [default: standard input]
    #[arg(short, long, value_name = "PATH")]
    input: Option<PathBuf>,
    /// No progress
    #[arg(short, long)]
    quiet: bool,
    /// The archive or folder, as with --input
    #[arg(value_name = "PATH", conflicts_with = "input")]
    path: Option<PathBuf>,
}

impl Load {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let source = match self.input.or(self.path) {
            Some(path) => Source::from_path(&path),
            None if io::stdin().is_terminal() => {
                anyhow::bail!("name an archive, or pipe one into standard input")
            }
            None => Source::StandardInput,
        };
        for image in super::store()?.load(&source, None, &*progress::of_layers(self.quiet))? {
            let names: Vec<_> = image.references.iter().map(ToString::to_string).collect();
            let name = if names.is_empty() {
                image.id.to_string()
            } else {
                names.join(", ")
            };
            writeln!(io::stdout(), "loaded {name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
