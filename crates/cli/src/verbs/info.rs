//! `cenote info`: where things are, and what would run a container now.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use cenote_backend::kvm::probe::probe;
use cenote_debian::Kind;
use cenote_sandbox::{Paths, Store};
use clap::Args;
use serde::Serialize;

use crate::flags::size::Size;
use crate::output::listing::{self, Format};

/// Show where things are kept, and what a container would run on
#[derive(Debug, Args)]
pub struct Info {
    /// How to print it
    #[arg(long, default_value = "table")]
    format: Format,
}

#[derive(Debug, Serialize)]
struct Facts {
    version: &'static str,
    data: PathBuf,
    runtime: PathBuf,
    images: usize,
    /// Bytes on disk of all images; layers that several share count once for each.
    images_size: u64,
    containers: usize,
    running: usize,
    kernel: Option<String>,
    qemu: Option<String>,
    passt: Option<String>,
    kvm: String,
    vmm: &'static str,
}

impl Info {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let facts = facts(Paths::from_env()?)?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Json => listing::json(&mut out, &facts)?,
            Format::Table => tell(&mut out, &facts)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(paths: Paths) -> anyhow::Result<Facts> {
    let images = paths.images()?.list()?;
    let sandboxes = Store::open(&paths)?.list()?;
    let tools = paths.tools();
    let tool = |kind| {
        tools
            .find(kind)
            .ok()
            .map(|tool| format!("{} ({})", tool.version, tool.program.display()))
    };
    let kvm = probe();
    Ok(Facts {
        version: env!("CARGO_PKG_VERSION"),
        images: images.len(),
        images_size: images.iter().map(|image| image.size).sum(),
        containers: sandboxes.len(),
        running: sandboxes
            .iter()
            .filter(|sandbox| sandbox.state().is_active())
            .count(),
        kernel: paths
            .kernels()
            .choose(None)
            .ok()
            .map(|kernel| kernel.version),
        qemu: tool(Kind::Qemu),
        passt: tool(Kind::Passt),
        vmm: if kvm.is_usable() {
            "kvm (this program itself)"
        } else {
            "qemu (emulation)"
        },
        kvm: kvm.to_string(),
        data: paths.data,
        runtime: paths.runtime,
    })
}

fn tell(out: &mut impl Write, facts: &Facts) -> io::Result<()> {
    let none = || "none".to_owned();
    let lines = [
        ("version", facts.version.to_owned()),
        ("data", facts.data.display().to_string()),
        ("runtime", facts.runtime.display().to_string()),
        (
            "images",
            format!("{} ({})", facts.images, Size(facts.images_size)),
        ),
        (
            "containers",
            format!("{} ({} running)", facts.containers, facts.running),
        ),
        ("kernel", facts.kernel.clone().unwrap_or_else(none)),
        ("qemu", facts.qemu.clone().unwrap_or_else(none)),
        ("passt", facts.passt.clone().unwrap_or_else(none)),
        ("kvm", facts.kvm.clone()),
        ("vmm", facts.vmm.to_owned()),
    ];
    lines
        .iter()
        .try_for_each(|(name, value)| writeln!(out, "{name:<13} {value}"))
}
