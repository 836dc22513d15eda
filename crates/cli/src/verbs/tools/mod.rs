//! `cenote tools`: programs that Cenote starts, unpacked beside the host's own.

mod install;
mod ls;
mod rm;

use std::process::ExitCode;

use cenote_debian::Tools as Store;
use cenote_sandbox::Paths;
use clap::Subcommand;

/// Manage the programs that Cenote starts: QEMU and passt
#[derive(Debug, Subcommand)]
pub enum Tools {
    Install(install::Install),
    Ls(ls::Ls),
    Rm(rm::Rm),
}

impl Tools {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Tools::Install(verb) => verb.run(),
            Tools::Ls(verb) => verb.run(),
            Tools::Rm(verb) => verb.run(),
        }
    }
}

fn store() -> anyhow::Result<Store> {
    Ok(Paths::from_env()?.tools())
}
