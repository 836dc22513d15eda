//! `cenote stop`: ask containers to end, then make them.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::sandbox;

/// Ask containers to end, and kill those that do not
#[derive(Debug, Args)]
pub struct Stop {
    /// Seconds to wait before killing [default: the container's --stop-timeout]
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<u32>,
    /// All containers that run
    #[arg(short, long)]
    all: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Stop {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let names = sandbox::named_or_all(self.containers, self.all, |sandbox| {
            sandbox.state().is_active()
        })?;
        sandbox::each(&names, |sandbox| {
            let seconds = self.time.unwrap_or(sandbox.spec().stop_timeout);
            Ok(sandbox.stop(Duration::from_secs(seconds.into()))?)
        })
    }
}
