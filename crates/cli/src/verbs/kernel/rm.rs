//! `cenote kernel rm`: remove guest kernels.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

/// Remove guest kernels; machines that run one go on
#[derive(Debug, Args)]
pub struct Rm {
    /// Kernels by their names in `cenote kernel ls`
    #[arg(required = true)]
    kernels: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        for name in &self.kernels {
            store.remove(name)?;
            writeln!(io::stdout(), "{name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
