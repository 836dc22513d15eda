//! `cenote volume rm`: remove volumes with their files.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_sandbox::volume::Error;
use clap::Args;

use super::volumes;
use crate::verbs::rm;

/// Remove volumes with their files
#[derive(Debug, Args)]
pub struct Rm {
    /// Remove the containers that mount them first, also those that run; a volume that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// All volumes
    #[arg(short, long, conflicts_with = "names")]
    all: bool,
    /// Names
    #[arg(value_name = "VOLUME", required_unless_present = "all")]
    names: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let volumes = volumes()?;
        let names = match self.all {
            true => volumes
                .list()?
                .into_iter()
                .map(|volume| volume.name)
                .collect(),
            false => self.names,
        };
        for name in &names {
            if self.force {
                for user in volumes.users(name)? {
                    rm::remove(&user, true, false)?;
                }
            }
            match volumes.remove(name) {
                Err(Error::NotFound(_)) if self.force => {}
                removed => removed?,
            }
            writeln!(io::stdout(), "{name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
