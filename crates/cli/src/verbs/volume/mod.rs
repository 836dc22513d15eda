//! `cenote volume`: directories that outlive the containers they are mounted in.

mod create;
mod inspect;
mod ls;
mod prune;
mod rm;

use std::process::ExitCode;

use cenote_sandbox::Volumes;
use cenote_sandbox::volume::Volume as Record;
use clap::Subcommand;
use serde::Serialize;

use super::sandbox;

/// Manage volumes, which outlive the containers they are mounted in
#[derive(Debug, Subcommand)]
pub enum Volume {
    Create(create::Create),
    Inspect(inspect::Inspect),
    Ls(ls::Ls),
    Prune(prune::Prune),
    Rm(rm::Rm),
}

impl Volume {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Volume::Create(verb) => verb.run(),
            Volume::Inspect(verb) => verb.run(),
            Volume::Ls(verb) => verb.run(),
            Volume::Prune(verb) => verb.run(),
            Volume::Rm(verb) => verb.run(),
        }
    }
}

fn volumes() -> anyhow::Result<Volumes> {
    Ok(sandbox::store()?.volumes())
}

/// A volume as `inspect` and `ls --format json` print it.
#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    volume: Record,
    /// Where its files are on this host.
    mountpoint: std::path::PathBuf,
    /// The containers that mount it.
    used_by: Vec<String>,
}

impl Details {
    fn of(volumes: &Volumes, volume: Record) -> anyhow::Result<Self> {
        let users = volumes.users(&volume.name)?;
        Ok(Self {
            mountpoint: volumes.data(&volume.name),
            used_by: users.iter().map(|user| user.spec().name.clone()).collect(),
            volume,
        })
    }
}
