//! `cenote kernel build`: make the built kernel from Debian's Linux source.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::flags::source::SourceFlags;
use crate::output::progress;

/// Build a kernel from Debian's signed Linux source, with everything in it that a guest needs and nothing else
///
/// It boots faster than a distribution's kernel and is preferred by `cenote run`. Building takes some 20 minutes on two
/// processors and 3 GB of disk. A build that was interrupted goes on where it was when it is started again.
#[derive(Debug, Args)]
pub struct Build {
    #[command(flatten)]
    source: SourceFlags,
    /// Keep the source and the objects, so that the next build makes only what has changed
    #[arg(long)]
    keep: bool,
}

impl Build {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let build = cenote_kernel::Build {
            store: &super::store()?,
            source: &self.source.source(),
            path: &path,
            keep: self.keep,
        };
        let kernel = build.run(&*progress::of_build())?;
        writeln!(io::stdout(), "{}", kernel.version)?;
        Ok(ExitCode::SUCCESS)
    }
}
