//! `cenote image prune`: make room.

use std::process::ExitCode;

use clap::Args;

use super::rm;
use crate::flags::size::Size;
use crate::output::progress::announce;

/// Remove images without a name, and what interrupted work has left behind
#[derive(Debug, Args)]
pub struct Prune {}

impl Prune {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let removed = super::store()?.prune()?;
        rm::tell(&removed)?;
        announce(&format!("{} freed", Size(removed.freed)));
        Ok(ExitCode::SUCCESS)
    }
}
