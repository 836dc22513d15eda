//! `cenote tools install`: take QEMU and passt out of Debian's packages.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_debian::Kind;
use clap::{Args, ValueEnum};

use crate::flags::source::SourceFlags;
use crate::output::progress::announce;

/// A tool by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// The machine emulator
    Qemu,
    /// User-mode networking
    Passt,
}

/// Take QEMU and passt out of Debian's signed packages and unpack them beside the host's own
#[derive(Debug, Args)]
pub struct Install {
    /// Which tools [default: all]
    names: Vec<Name>,
    #[command(flatten)]
    source: SourceFlags,
}

impl Install {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let kinds = match self.names.as_slice() {
            [] => Kind::ALL.to_vec(),
            names => names.iter().map(|name| name.kind()).collect(),
        };
        announce("taking tools out of Debian's packages");
        for tool in super::store()?.install(&kinds, &self.source.source())? {
            writeln!(io::stdout(), "{} {}", tool.kind, tool.version)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Name {
    fn kind(self) -> Kind {
        match self {
            Name::Qemu => Kind::Qemu,
            Name::Passt => Kind::Passt,
        }
    }
}
