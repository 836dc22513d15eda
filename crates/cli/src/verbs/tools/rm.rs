//! `cenote tools rm`: remove unpacked programs.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

/// Remove unpacked tools; the host's own stay
#[derive(Debug, Args)]
pub struct Rm {
    /// Tool and version joined by `-`, such as qemu-10.0.2
    #[arg(required = true)]
    tools: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        for name in &self.tools {
            store.remove(name)?;
            writeln!(io::stdout(), "{name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
