//! `cenote import`: an image out of the archive of a root file system.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cenote_image::{ImportOptions, Reference};
use clap::Args;

/// Make an image of one layer out of a tar archive of a root file system
#[derive(Debug, Args)]
pub struct Import {
    /// The archive, plain or compressed by gzip or zstd; `-` is standard input
    archive: PathBuf,
    /// Name of the image; without a registry it is `localhost/NAME`
    name: String,
}

impl Import {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = local(&self.name)?;
        let archive: Box<dyn Read + Send> = match self.archive.to_str() {
            Some("-") if io::stdin().is_terminal() => {
                anyhow::bail!("pipe an archive into standard input, or name one")
            }
            Some("-") => Box::new(io::stdin()),
            _ => {
                let file = File::open(&self.archive);
                Box::new(file.with_context(|| format!("cannot open {}", self.archive.display()))?)
            }
        };
        let image = super::store()?.import(archive, &name, &ImportOptions::default())?;
        writeln!(io::stdout(), "{}", image.id)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The name of an image that is made here. The first of the names that `text` can mean is the local one.
pub fn local(text: &str) -> anyhow::Result<Reference> {
    let first = Reference::candidates(text)?.into_iter().next();
    first.with_context(|| format!("`{text}` is no image name"))
}
