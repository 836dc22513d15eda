//! `cenote kernel rm`: remove guest kernels.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::users;

/// Remove guest kernels; machines that run one go on
#[derive(Debug, Args)]
pub struct Rm {
    /// Also those that containers name, which then cannot be started again
    #[arg(short, long)]
    force: bool,
    /// Kernels by their names in `cenote kernel ls`
    #[arg(required = true)]
    kernels: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        for name in &self.kernels {
            if let ([user, ..], false) = (users(name)?.as_slice(), self.force) {
                anyhow::bail!(
                    "container {user} names kernel {name}: remove it (`cenote rm {user}`), or use --force"
                );
            }
            store.remove(name)?;
            writeln!(io::stdout(), "{name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
