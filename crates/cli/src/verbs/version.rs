//! `cenote version`: what this program is.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::output::listing::{self, Format};

/// Show the version of Cenote and of its protocol with the guest
#[derive(Debug, Args)]
pub struct Version {
    /// How to print it
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Versions {
    version: &'static str,
    protocol: u32,
    revision: Option<&'static str>,
}

impl Version {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let versions = Versions {
            version: env!("CARGO_PKG_VERSION"),
            protocol: cenote_protocol::VERSION,
            revision: option_env!("CENOTE_REVISION"),
        };
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => listing::json(&mut out, &versions)?,
            Format::Table => {
                writeln!(out, "cenote {}", versions.version)?;
                writeln!(out, "protocol {}", versions.protocol)?;
                if let Some(revision) = versions.revision {
                    writeln!(out, "revision {revision}")?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
