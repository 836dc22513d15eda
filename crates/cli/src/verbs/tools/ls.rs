//! `cenote tools ls`: which programs there are.

use std::process::ExitCode;

use cenote_debian::Tool;
use clap::Args;
use serde::Serialize;

use crate::output::listing::{self, Format, Row};

/// List the tools that are there, the host's own included
#[derive(Debug, Args)]
pub struct Ls {
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
#[serde(transparent)]
struct Line(Tool);

impl Row for Line {
    const TITLES: &'static [&'static str] = &["TOOL", "VERSION", "FROM", "PROGRAM"];

    fn cells(&self) -> Vec<String> {
        let from = if self.0.private.is_some() {
            "unpacked"
        } else {
            "host"
        };
        vec![
            self.0.kind.to_string(),
            self.0.version.clone(),
            from.to_owned(),
            self.0.program.display().to_string(),
        ]
    }
}

impl Ls {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let lines: Vec<_> = super::store()?.list()?.into_iter().map(Line).collect();
        listing::print(self.format, &lines)?;
        Ok(ExitCode::SUCCESS)
    }
}
