//! `cenote ps`: which containers there are.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::SystemTime;

use cenote_sandbox::spec::Network;
use cenote_sandbox::{Sandbox, State};
use clap::Args;
use serde::Serialize;

use super::sandbox;
use crate::output::age::Age;
use crate::output::listing::{self, Format, Row};

/// List containers
#[derive(Debug, Args)]
pub struct Ps {
    /// Those that do not run too
    #[arg(short, long)]
    all: bool,
    /// Only ids
    #[arg(short, long)]
    quiet: bool,
    /// Only the newest one, running or not
    #[arg(short, long)]
    latest: bool,
    /// Do not shorten ids
    #[arg(long)]
    no_trunc: bool,
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

/// One container, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    id: String,
    name: String,
    image: String,
    command: Vec<String>,
    /// Seconds since 1970.
    created: u64,
    #[serde(flatten)]
    state: State,
    ports: Vec<String>,
    labels: std::collections::BTreeMap<String, String>,
    #[serde(skip)]
    age: Age,
    #[serde(skip)]
    shown_id: String,
}

/// Longest command that the table shows.
const COMMAND_WIDTH: usize = 30;

impl Line {
    fn new(sandbox: &Sandbox, state: State, full: bool) -> Self {
        let spec = sandbox.spec();
        let created = sandbox.created();
        let seconds = created
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let ports = match &spec.network {
            Network::Default { ports, .. } => ports.iter().map(ToString::to_string).collect(),
            Network::None => Vec::new(),
        };
        Self {
            id: sandbox.id().to_owned(),
            name: spec.name.clone(),
            image: spec.image.reference.clone(),
            command: spec.process.args.clone(),
            created: seconds,
            state,
            ports,
            labels: spec.labels.clone(),
            age: Age::since(created),
            shown_id: if full {
                sandbox.id()
            } else {
                sandbox.short_id()
            }
            .to_owned(),
        }
    }

    fn status(&self) -> String {
        match &self.state {
            State::Exited {
                code, error: None, ..
            } => format!("exited ({code})"),
            State::Exited {
                code,
                error: Some(_),
                ..
            } => format!("failed ({code})"),
            state => state.word().to_owned(),
        }
    }
}

impl Row for Line {
    const TITLES: &'static [&'static str] = &[
        "ID", "NAME", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS",
    ];

    fn cells(&self) -> Vec<String> {
        let command: String = self
            .command
            .join(" ")
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let short: String = command.chars().take(COMMAND_WIDTH).collect();
        vec![
            self.shown_id.clone(),
            self.name.clone(),
            self.image.clone(),
            if short == command {
                command
            } else {
                format!("{short}...")
            },
            self.age.to_string(),
            self.status(),
            self.ports.join(", "),
        ]
    }
}

impl Ps {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let mut sandboxes = sandbox::store()?.list()?;
        if self.latest {
            sandboxes = sandboxes.pop().into_iter().collect();
        }
        let all = self.all || self.latest;
        let mut lines = Vec::new();
        for sandbox in &sandboxes {
            let state = sandbox.state();
            if all || state.is_active() {
                lines.push(Line::new(sandbox, state, self.no_trunc));
            }
        }
        if self.quiet {
            let mut out = io::stdout().lock();
            for line in &lines {
                writeln!(out, "{}", line.shown_id)?;
            }
        } else {
            listing::print(self.format, &lines)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
