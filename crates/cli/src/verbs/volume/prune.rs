//! `cenote volume prune`: remove the volumes that no container mounts.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Args;

use super::volumes;

/// Remove the volumes that no container mounts, with their files
#[derive(Debug, Args)]
pub struct Prune {
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !self.force && !confirmed()? {
            return Ok(ExitCode::SUCCESS);
        }
        let mut out = io::stdout().lock();
        for name in volumes()?.prune()? {
            writeln!(out, "{name}")?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Asks, as podman does, because named volumes go too. Who cannot answer has to say so beforehand.
fn confirmed() -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        anyhow::bail!("volume prune removes every volume that no container mounts: say --force");
    }
    write!(
        io::stderr(),
        "This removes every volume that no container mounts, with its files. Are you sure? [y/N] "
    )?;
    let mut answer = String::new();
    io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
