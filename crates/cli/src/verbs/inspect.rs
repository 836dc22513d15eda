//! `cenote inspect`: everything about a container, as JSON.

use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use cenote_sandbox::{Sandbox, Spec, State};
use clap::Args;
use serde::Serialize;

use super::sandbox;
use crate::output::listing;

/// Show everything about containers, as JSON
#[derive(Debug, Args)]
pub struct Inspect {
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Details<'a> {
    id: &'a str,
    /// Seconds since 1970.
    created: u64,
    state: State,
    /// Bytes that the writable layer takes on the host.
    disk_usage: u64,
    spec: &'a Spec,
}

impl<'a> Details<'a> {
    fn of(sandbox: &'a Sandbox) -> Self {
        let created = sandbox.created().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            id: sandbox.id(),
            created: created.unwrap_or_default().as_secs(),
            state: sandbox.state(),
            disk_usage: sandbox.disk_usage(),
            spec: sandbox.spec(),
        }
    }
}

impl Inspect {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = sandbox::store()?;
        let sandboxes = self
            .containers
            .iter()
            .map(|name| store.find(name))
            .collect::<Result<Vec<_>, _>>()?;
        let details: Vec<_> = sandboxes.iter().map(Details::of).collect();
        listing::json(&mut io::stdout().lock(), &details)?;
        Ok(ExitCode::SUCCESS)
    }
}
