//! `cenote rm`: remove containers with everything they wrote.

use std::process::ExitCode;

use cenote_sandbox::{Paths, Sandbox};
use clap::Args;

use super::sandbox;

/// Remove containers with everything they wrote
#[derive(Debug, Args)]
pub struct Rm {
    /// End those that run first, at once; a container that does not exist is no error
    #[arg(short, long)]
    force: bool,
    /// Remove the volumes that were made for them alone as well
    #[arg(short, long)]
    volumes: bool,
    /// All containers
    #[arg(short, long)]
    all: bool,
    /// Names or ids
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut names = sandbox::named_or_all(self.containers, self.all, |_| true)?;
        if self.force {
            let store = sandbox::store()?;
            names.retain(|name| {
                !matches!(
                    store.find(name),
                    Err(cenote_sandbox::store::Error::NotFound(_))
                )
            });
        }
        let code = sandbox::each(&names, |sandbox| remove(sandbox, self.force, self.volumes))?;
        // Opening the images' store clears the leases that killed monitors held.
        Paths::from_env()?.images()?;
        Ok(code)
    }
}

/// Removes one; `force` ends its machine first, which loses nothing that would not be removed anyway. With `volumes`
/// those go too that were made for it alone.
pub fn remove(sandbox: &Sandbox, force: bool, volumes: bool) -> anyhow::Result<()> {
    if force {
        sandbox.kill_machine()?;
    }
    Ok(sandbox.remove(volumes)?)
}
