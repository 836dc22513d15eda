//! `cenote kernel ls`: which guest kernels there are.

use std::process::ExitCode;

use cenote_kernel::Kernel;
use clap::Args;
use serde::Serialize;

use super::users;
use crate::flags::size::Size;
use crate::output::listing::{self, Format, Row};
use crate::output::progress::announce;

/// List guest kernels; the first one is the default
///
/// Built kernels come first, the last built before others, then a distribution's, the newest release before others.
#[derive(Debug, Args)]
pub struct Ls {
    /// How to print them
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Line {
    #[serde(flatten)]
    kernel: Kernel,
    kind: &'static str,
    /// In bytes.
    size: u64,
    /// The sandboxes that name it.
    used_by: Vec<String>,
}

impl Line {
    fn new(kernel: Kernel) -> anyhow::Result<Self> {
        Ok(Self {
            kind: match kernel.built {
                Some(_) => "built",
                None => "distro",
            },
            size: kernel.size()?,
            used_by: users(&kernel.version)?,
            kernel,
        })
    }
}

impl Row for Line {
    const TITLES: &'static [&'static str] = &["KERNEL", "KIND", "SIZE", "USED BY", "FROM"];

    fn cells(&self) -> Vec<String> {
        let or_none = |text: String| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                text
            }
        };
        vec![
            self.kernel.version.clone(),
            self.kind.to_owned(),
            Size(self.size).to_string(),
            or_none(self.used_by.join(",")),
            self.kernel.packages.join(" "),
        ]
    }
}

impl Ls {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        let kernels = store.list()?.into_iter();
        let lines = kernels.map(Line::new).collect::<Result<Vec<_>, _>>()?;
        listing::print(self.format, &lines)?;
        for damaged in store.damaged()? {
            announce(&format!("{:#}", anyhow::Error::new(damaged)));
        }
        Ok(ExitCode::SUCCESS)
    }
}
