//! `cenote kernel`: the kernels that guests run.

mod install;
mod ls;
mod rm;

use std::process::ExitCode;

use cenote_kernel::Store;
use cenote_sandbox::Paths;
use clap::Subcommand;

/// Manage guest kernels
#[derive(Debug, Subcommand)]
pub enum Kernel {
    Install(install::Install),
    Ls(ls::Ls),
    Rm(rm::Rm),
}

impl Kernel {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Kernel::Install(verb) => verb.run(),
            Kernel::Ls(verb) => verb.run(),
            Kernel::Rm(verb) => verb.run(),
        }
    }
}

fn store() -> anyhow::Result<Store> {
    Ok(Paths::from_env()?.kernels())
}
