//! `cenote start`: run a container that was created, or has ended.

use std::process::ExitCode;

use cenote_sandbox::{Host, Paths};
use clap::Args;

use super::{launch, sandbox};
use crate::exit;

/// Start containers that were created or have ended; what they wrote is still there
#[derive(Debug, Args)]
pub struct Start {
    /// Stay in the foreground with the output of the only container
    #[arg(short, long)]
    attach: bool,
    /// Forward standard input too; needs --attach
    #[arg(short, long, requires = "attach")]
    interactive: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Start {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !self.attach {
            return sandbox::each(&self.containers, launch::detached);
        }
        let [name] = self.containers.as_slice() else {
            anyhow::bail!("--attach takes one container");
        };
        let sandbox = sandbox::find(name)?;
        let outcome =
            launch::foreground(&sandbox, &Host::new(&Paths::from_env()?), self.interactive)?;
        Ok(exit::of_container(outcome.code))
    }
}
