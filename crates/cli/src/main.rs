//! `cenote`: run each OCI container in its own microVM.
//!
//! Each verb is a file in `verbs`. What was typed becomes a plan without touching the machine, then the plan runs.
//! Errors end here: told once, exit code 125 unless the container has a word in it.

mod cli;
mod exit;
mod flags;
mod mounts;
mod output;
mod plan;
mod terminal;
mod verbs;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use tracing_subscriber::EnvFilter;

use cli::Cli;

fn main() -> ExitCode {
    let log = EnvFilter::try_from_env("CENOTE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(log)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .without_time()
        .init();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.run() {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            exit::of_error(&error)
        }
    }
}

/// Tells an error in one line: what failed, then each cause that says more.
fn report(error: &anyhow::Error) {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    // Without a standard error there is nobody to tell.
    let _ = writeln!(io::stderr(), "cenote: {line}");
}

/// Help and version go to standard output and are a success; a wrong command line is a failure of ours.
fn usage(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        _ => {
            let text = error.render().to_string();
            let text = text
                .strip_prefix("error: ")
                .map_or_else(|| text.clone(), |rest| format!("cenote: {rest}"));
            let _ = write!(io::stderr(), "{text}");
            ExitCode::from(exit::FAILED)
        }
    }
}

/// A reader that had enough (`cenote ps | head -1`) is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    error.chain().any(broken)
}
