//! `cenote image build-base`: an image out of a program of this system, for machines without a registry.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use cenote_image::Reference;
use clap::{Args, ValueEnum};

/// Images that can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Base {
    /// A shell and 250 small programs in one file
    Busybox,
}

/// Make a small image out of this system's static busybox
#[derive(Debug, Args)]
pub struct BuildBase {
    /// Which image
    base: Base,
    /// The static program to take [default: busybox in the PATH]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

impl BuildBase {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let Base::Busybox = self.base;
        let program = match self.program {
            Some(program) => program,
            None => installed("busybox")?,
        };
        let name = Reference::local("busybox")?;
        let image = super::store()?.build_base(&program, &name)?;
        let names: Vec<_> = image.references.iter().map(ToString::to_string).collect();
        writeln!(io::stdout(), "{}", names.join(" "))?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The program of this name in the PATH.
fn installed(name: &str) -> anyhow::Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut places = env::split_paths(&path).map(|folder| folder.join(name));
    places.find(|place| place.is_file()).with_context(|| {
        format!("no {name} in the PATH: install Debian's busybox-static, or give another static one with --program FILE")
    })
}
