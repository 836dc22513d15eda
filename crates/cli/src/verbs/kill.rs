//! `cenote kill`: a signal for a container.

use std::process::ExitCode;

use clap::Args;

use super::sandbox;
use crate::flags::signal::Signal;

/// Send a signal to the first process of containers
#[derive(Debug, Args)]
pub struct Kill {
    /// The signal's name or number
    #[arg(short, long, default_value = "KILL")]
    signal: Signal,
    /// All containers that run
    #[arg(short, long)]
    all: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Kill {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let number = u8::try_from(self.signal.0)?;
        let names = sandbox::named_or_all(self.containers, self.all, |sandbox| {
            sandbox.state().is_active()
        })?;
        sandbox::each(&names, |sandbox| Ok(sandbox.kill(number)?))
    }
}
