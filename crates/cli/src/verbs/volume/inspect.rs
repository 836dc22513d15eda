//! `cenote volume inspect`: everything about volumes, as JSON.

use std::io;
use std::process::ExitCode;

use clap::Args;

use super::{Details, volumes};
use crate::output::listing;

/// Show everything about volumes, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let volumes = volumes()?;
        let details = self
            .names
            .iter()
            .map(|name| Details::of(&volumes, volumes.find(name)?))
            .collect::<Result<Vec<_>, _>>()?;
        listing::json(&mut io::stdout().lock(), &details)?;
        Ok(ExitCode::SUCCESS)
    }
}
