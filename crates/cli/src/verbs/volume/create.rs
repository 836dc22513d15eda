//! `cenote volume create`: make a volume.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_sandbox::volume;
use clap::Args;

use super::volumes;
use crate::flags::label::Label;
use crate::flags::name::Name;

/// Make a volume and print its name
#[derive(Debug, Args)]
pub struct Create {
    /// Attach a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<Label>,
    /// No error if it is there already
    #[arg(long)]
    ignore: bool,
    /// Its name; without one it gets 64 random digits
    #[arg(value_name = "VOLUME")]
    name: Option<Name>,
}

impl Create {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let name = self.name.map_or_else(volume::anonymous_name, |name| name.0);
        let labels = self.label.into_iter();
        let labels = labels.map(|label| (label.name, label.value)).collect();
        match volumes()?.create(&name, labels) {
            Err(volume::Error::NameInUse(_)) if self.ignore => {}
            made => drop(made?),
        }
        writeln!(io::stdout(), "{name}")?;
        Ok(ExitCode::SUCCESS)
    }
}
