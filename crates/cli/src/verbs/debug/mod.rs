//! `cenote debug`: looks inside of what runs.

pub mod trace;

use std::process::ExitCode;

use clap::Subcommand;

/// Look inside a running sandbox
#[derive(Debug, Subcommand)]
pub enum Debug {
    Trace(trace::Trace),
}

impl Debug {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Debug::Trace(verb) => verb.run(),
        }
    }
}
