//! `cenote volume rm`: remove volumes with their files.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_sandbox::Volumes;
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
        let mut failure = None;
        for name in &names {
            match remove(&volumes, name, self.force) {
                Ok(()) => writeln!(io::stdout(), "{name}")?,
                // One that fails does not keep the others from their turn.
                Err(error) => {
                    if let Some(earlier) = failure.replace(error) {
                        crate::report(&earlier);
                    }
                }
            }
        }
        failure.map_or(Ok(ExitCode::SUCCESS), Err)
    }
}

fn remove(volumes: &Volumes, name: &str, force: bool) -> anyhow::Result<()> {
    if force {
        for user in volumes.users(name)? {
            rm::remove(&user, true, false)?;
        }
    }
    match volumes.remove(name) {
        Err(Error::NotFound(_)) if force => Ok(()),
        removed => Ok(removed?),
    }
}
