//! `cenote stats`: what a container's shares are used for, and what that takes.

use std::process::ExitCode;

use anyhow::bail;
use cenote_sandbox::observe::{OperationStats, ShareStats};
use clap::Args;
use serde::Serialize;

use super::sandbox;
use crate::output::listing::{self, Format, Row};
use crate::output::quantity;

/// Show what a container has done on its shares, by operation
///
/// Times are those of the file server on the host, from a request's arrival to its reply, without the way to it and back; `cenote
/// debug trace` shows these too.
#[derive(Debug, Args)]
pub struct Stats {
    /// Operations on shares, volumes included; there are no other statistics yet
    #[arg(long)]
    fs: bool,
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

/// One operation on one share, as `--format json` prints it.
#[derive(Debug, Serialize)]
struct Line {
    share: String,
    #[serde(flatten)]
    stats: OperationStats,
    /// The share's time for all operations.
    #[serde(skip)]
    share_ns: u64,
}

impl Line {
    fn all(share: ShareStats) -> impl Iterator<Item = Line> {
        let times = share.operations.iter().map(|operation| operation.total_ns);
        let share_ns = times.fold(0, u64::saturating_add);
        share.operations.into_iter().map(move |stats| Line {
            share: share.target.clone(),
            stats,
            share_ns,
        })
    }
}

impl Row for Line {
    const TITLES: &'static [&'static str] = &[
        "SHARE",
        "OPERATION",
        "COUNT",
        "ERRORS",
        "BYTES",
        "TIME",
        "%",
        "MEAN",
        "P50",
        "P90",
        "P99",
        "MAX",
    ];

    fn cells(&self) -> Vec<String> {
        let stats = &self.stats;
        vec![
            self.share.clone(),
            stats.operation.clone(),
            stats.count.to_string(),
            stats.errors.to_string(),
            quantity::bytes(stats.bytes),
            quantity::time(stats.total_ns),
            format!(
                "{:.1}",
                100.0 * stats.total_ns as f64 / self.share_ns.max(1) as f64
            ),
            quantity::time(stats.total_ns / stats.count.max(1)),
            quantity::time(stats.p50_ns),
            quantity::time(stats.p90_ns),
            quantity::time(stats.p99_ns),
            quantity::time(stats.max_ns),
        ]
    }
}

impl Stats {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if !self.fs {
            bail!(
                "only what a container does on its shares is counted: cenote stats --fs {}",
                self.container
            );
        }
        let shares = sandbox::find(&self.container)?.share_stats()?;
        let lines: Vec<_> = shares.into_iter().flat_map(Line::all).collect();
        listing::print(self.format, &lines)?;
        Ok(ExitCode::SUCCESS)
    }
}
