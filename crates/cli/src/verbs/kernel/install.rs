//! `cenote kernel install`: take a guest kernel out of Debian's packages.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use crate::flags::source::SourceFlags;
use crate::output::progress::announce;

/// Take the newest cloud kernel out of Debian's signed packages
#[derive(Debug, Args)]
pub struct Install {
    #[command(flatten)]
    source: SourceFlags,
}

impl Install {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        announce("taking a kernel out of Debian's packages");
        let kernel = cenote_kernel::install(&super::store()?, &self.source.source())?;
        writeln!(io::stdout(), "{}", kernel.version)?;
        Ok(ExitCode::SUCCESS)
    }
}
