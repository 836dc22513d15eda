//! `cenote pause` and `cenote unpause`: let containers stand still and go on.

use std::process::ExitCode;

use cenote_sandbox::State;
use clap::Args;

use super::sandbox;

/// Let containers stand still with their machines, in memory
#[derive(Debug, Args)]
pub struct Pause {
    /// All containers that run
    #[arg(short, long)]
    all: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Pause {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let names = sandbox::named_or_all(self.containers, self.all, |sandbox| {
            matches!(sandbox.state(), State::Running { .. })
        })?;
        sandbox::each(&names, |sandbox| Ok(sandbox.pause()?))
    }
}

/// Let paused containers go on
#[derive(Debug, Args)]
pub struct Unpause {
    /// All containers that are paused
    #[arg(short, long)]
    all: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Unpause {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let names = sandbox::named_or_all(self.containers, self.all, |sandbox| {
            matches!(sandbox.state(), State::Paused { .. })
        })?;
        sandbox::each(&names, |sandbox| Ok(sandbox.unpause()?))
    }
}
