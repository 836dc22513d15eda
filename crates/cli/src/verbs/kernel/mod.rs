//! `cenote kernel`: the kernels that guests run.

mod build;
mod install;
mod ls;
mod rm;

use std::process::ExitCode;

use cenote_kernel::Store;
use cenote_sandbox::Paths;
use clap::Subcommand;

use super::sandbox;

/// Manage guest kernels
#[derive(Debug, Subcommand)]
pub enum Kernel {
    Build(build::Build),
    Install(install::Install),
    Ls(ls::Ls),
    Rm(rm::Rm),
}

impl Kernel {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Kernel::Build(verb) => verb.run(),
            Kernel::Install(verb) => verb.run(),
            Kernel::Ls(verb) => verb.run(),
            Kernel::Rm(verb) => verb.run(),
        }
    }
}

fn store() -> anyhow::Result<Store> {
    Ok(Paths::from_env()?.kernels())
}

/// The names of the sandboxes that name the kernel `version`.
fn users(version: &str) -> anyhow::Result<Vec<String>> {
    let sandboxes = sandbox::store()?.list()?;
    let users = sandboxes
        .iter()
        .map(cenote_sandbox::Sandbox::spec)
        .filter(|spec| spec.kernel.as_deref() == Some(version));
    Ok(users.map(|spec| spec.name.clone()).collect())
}
