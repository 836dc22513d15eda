//! `cenote man FOLDER`: manual pages, for `make install`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, CommandFactory};

use crate::cli::Cli;

/// Write the manual pages into a folder
#[derive(Debug, Args)]
pub struct Man {
    /// Folder for the pages; it must exist
    folder: PathBuf,
}

impl Man {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let command = Cli::command().disable_help_subcommand(true);
        clap_mangen::generate_to(command, &self.folder)
            .with_context(|| format!("cannot write manual pages into {}", self.folder.display()))?;
        Ok(ExitCode::SUCCESS)
    }
}
