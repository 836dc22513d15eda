//! `cenote doctor`: what this machine has, what is missing, and what to do about it.

mod checks;

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_sandbox::Paths;
use clap::Args;
use serde::Serialize;

use crate::output::listing::{self, Format};

/// Check what this machine has, and tell the remedy for what it lacks
#[derive(Debug, Args)]
pub struct Doctor {
    /// How to print the findings
    #[arg(long, default_value = "table")]
    format: Format,
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// Nothing to do.
    Good,
    /// Containers run, but something could be better.
    Fair,
    /// Containers do not run.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    subject: &'static str,
    verdict: Verdict,
    found: String,
    remedy: Option<String>,
}

impl Doctor {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let findings = checks::all(&Paths::from_env()?);
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => listing::json(&mut out, &findings)?,
            Format::Table => findings
                .iter()
                .try_for_each(|finding| tell(&mut out, finding))?,
        }
        match findings
            .iter()
            .any(|finding| finding.verdict == Verdict::Bad)
        {
            true => Ok(ExitCode::FAILURE),
            false => Ok(ExitCode::SUCCESS),
        }
    }
}

fn tell(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    let mark = match finding.verdict {
        Verdict::Good => "ok",
        Verdict::Fair => "note",
        Verdict::Bad => "MISSING",
    };
    writeln!(out, "{mark:<8} {:<9} {}", finding.subject, finding.found)?;
    match &finding.remedy {
        Some(remedy) => writeln!(out, "{:<18} remedy: {remedy}", ""),
        None => Ok(()),
    }
}
