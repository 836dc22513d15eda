//! `cenote kernel ls`: which guest kernels there are.

use std::process::ExitCode;

use cenote_kernel::Kernel;
use clap::Args;
use serde::Serialize;

use crate::output::listing::{self, Format, Row};

/// List guest kernels, the newest first; the first one is the default
#[derive(Debug, Args)]
pub struct Ls {
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(Kernel);

impl Row for Line {
    const TITLES: &'static [&'static str] = &["KERNEL", "MODULES", "PACKAGES"];

    fn cells(&self) -> Vec<String> {
        let Kernel {
            version,
            modules,
            packages,
            ..
        } = &self.0;
        vec![
            version.clone(),
            modules.len().to_string(),
            packages.join(" "),
        ]
    }
}

impl Ls {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lines: Vec<_> = super::store()?.list()?.into_iter().map(Line).collect();
        listing::print(self.format, &lines)?;
        Ok(ExitCode::SUCCESS)
    }
}
