//! `cenote volume ls`: which volumes there are.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::Args;

use super::{Details, volumes};
use crate::output::age::Age;
use crate::output::listing::{self, Format, Row};

/// List volumes
#[derive(Debug, Args)]
pub struct Ls {
    /// Only names
    #[arg(short, long)]
    quiet: bool,
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

impl Row for Details {
    const TITLES: &'static [&'static str] = &["VOLUME NAME", "CREATED", "USED BY"];

    fn cells(&self) -> Vec<String> {
        let created = SystemTime::UNIX_EPOCH + Duration::from_millis(self.volume.created);
        let users = match self.used_by.is_empty() {
            true => "-".to_owned(),
            false => self.used_by.join(","),
        };
        vec![
            self.volume.name.clone(),
            Age::since(created).to_string(),
            users,
        ]
    }
}

impl Ls {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let volumes = volumes()?;
        let all = volumes.list()?;
        if self.quiet {
            let mut out = io::stdout().lock();
            for volume in &all {
                writeln!(out, "{}", volume.name)?;
            }
        } else {
            let lines = all
                .into_iter()
                .map(|volume| Details::of(&volumes, volume))
                .collect::<Result<Vec<_>, _>>()?;
            listing::print(self.format, &lines)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
