//! `cenote monitor ID`: the process that a detached container leaves behind. Started by `run -d` and `start`.

use std::process::ExitCode;

use cenote_sandbox::{Host, Paths};
use clap::Args;

use super::sandbox;

/// Own the machine of a container that was started detached
#[derive(Debug, Args)]
pub struct Monitor {
    /// The container's id
    id: String,
}

impl Monitor {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sandbox = sandbox::find(&self.id)?;
        sandbox.serve_detached(&Host::new(&Paths::from_env()?))?;
        Ok(ExitCode::SUCCESS)
    }
}
