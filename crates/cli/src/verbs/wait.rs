//! `cenote wait`: until containers have ended.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;

use super::sandbox;

/// Wait until containers have ended and print their exit codes
#[derive(Debug, Args)]
pub struct Wait {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Wait {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = sandbox::store()?;
        let sandboxes = self
            .containers
            .iter()
            .map(|name| store.find(name))
            .collect::<Result<Vec<_>, _>>()?;
        for sandbox in &sandboxes {
            writeln!(io::stdout(), "{}", sandbox.wait()?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
