//! What does a machine on KVM cost in memory beside its RAM, and are the pages of an image counted once for two of them?
//!
//! The machines run in the lab, on the distribution's kernel. Their image lies on a pmem of the lab's own machine: EROFS
//! with DAX.

use anyhow::Context;
use cenote_bench::files;
use cenote_bench::host::Host;
use cenote_bench::lab::Lab;
use cenote_bench::memory::Resident;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::Series;
use clap::Parser;

/// Measures the memory of machines on KVM
#[derive(Debug, Parser)]
struct KvmMemory {
    #[command(flatten)]
    flags: Flags,
}

const MIB: f64 = (1 << 20) as f64;
const MEGABYTE: usize = 1_000_000;
/// The file that is read.
const SIZE: usize = 60 * MEGABYTE;
/// A mapping without a file that is at least as large is the guest's RAM.
const RAM_AT_LEAST: u64 = 128 << 20;

fn main() -> anyhow::Result<()> {
    let bench = KvmMemory::parse();
    let mut report = Report::new(
        "kvm_memory",
        "What does a machine on KVM cost in memory beside its RAM?",
    );
    let host = Host::new()?;
    let lab = Lab::with_files(&host, SIZE)?;
    report.condition("kernel and tools", host.versions()?);
    report.condition("image", "lent to the lab by pmem: EROFS with DAX");

    let first = start(&lab, "first")?;
    lab.run("cenote exec first cat /large >/dev/null")?;
    tell(&mut report, &lab, "one sandbox", first)?;
    let second = start(&lab, "second")?;
    lab.run("cenote exec second cat /large >/dev/null")?;
    tell(&mut report, &lab, "each of two, the first", first)?;
    let private = tell(&mut report, &lab, "each of two, the second", second)?;
    report.aim(
        "a monitor's own memory in MiB, beside one of the same program",
        Side::AtMost,
        5.0,
        private,
    );
    report.publish(&bench.flags)
}

/// Starts a machine, and answers its monitor.
fn start(lab: &Lab<'_>, name: &str) -> anyhow::Result<u32> {
    lab.run(&format!(
        "cenote run -d --quiet --vmm kvm --network none --read-only --kernel {} --name {name} {} sleep 1000000",
        lab.own_kernel(),
        files::IMAGE
    ))?;
    let told = lab.run(&format!(
        "cenote inspect {name} | sed -n 's/.*\"monitor\": *\\([0-9]*\\).*/\\1/p' | head -n 1"
    ))?;
    told.trim()
        .parse()
        .with_context(|| format!("`cenote inspect` names no monitor: {told:?}"))
}

/// Adds what a monitor has in memory, and answers what of it is its own, in MiB.
fn tell(report: &mut Report, lab: &Lab<'_>, name: &str, monitor: u32) -> anyhow::Result<f64> {
    let smaps = lab.run(&format!("cat /proc/{monitor}/smaps"))?;
    let image = Resident::sum(&smaps, |mapping| mapping.path.ends_with(".erofs"));
    let rest = Resident::sum(&smaps, |mapping| {
        let ram = mapping.path.is_empty() && mapping.size >= RAM_AT_LEAST;
        !ram && !mapping.path.ends_with(".erofs")
    });
    for (part, bytes) in [
        ("image pages, RSS", image.rss),
        ("image pages, PSS", image.pss),
        ("beside RAM and image, RSS", rest.rss),
    ] {
        report.figure(
            &format!("{name}: {part}"),
            "MiB",
            &Series::new(vec![bytes / MIB]),
        );
    }
    let own = Series::new(vec![rest.private / MIB]);
    Ok(report.figure(
        &format!("{name}: beside RAM and image, its own"),
        "MiB",
        &own,
    ))
}
