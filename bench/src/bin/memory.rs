//! What does reading an image's files cost in memory: in the guest, with DAX and without, and on the host, for one sandbox and
//! for two of the same image?

use cenote_bench::files;
use cenote_bench::host::{Host, Sleeper};
use cenote_bench::memory::{Resident, file_caches};
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::Series;
use clap::Parser;

/// Measures what reading a large file of an image leaves in memory
#[derive(Debug, Parser)]
struct Memory {
    /// How often each side runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The file's size in MB
    #[arg(long, default_value_t = 200)]
    megabytes: usize,
    #[command(flatten)]
    flags: Flags,
}

const MEGABYTE: usize = 1_000_000;

fn main() -> anyhow::Result<()> {
    let bench = Memory::parse();
    let mut report = Report::new(
        "memory",
        "What does reading a file of the image cost in memory?",
    );
    let host = Host::new()?;
    report.condition("kernel and tools", host.versions()?);
    files::import(&host, bench.megabytes * MEGABYTE)?;
    report.condition(
        "read",
        format!(
            "a file of 8 MB to warm up, then another one of {} MB, with cat",
            bench.megabytes
        ),
    );
    let size = (bench.megabytes * MEGABYTE) as f64;
    for (name, flags, side, limit) in [
        ("with DAX", &["-m", "768m"][..], Side::AtMost, 1.0),
        (
            "without DAX (control)",
            &["-m", "768m", "--no-dax"][..],
            Side::AtLeast,
            90.0,
        ),
    ] {
        let grown = (0..bench.rounds)
            .map(|_| growth(&host, flags))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let grown = grown.iter().map(|bytes| bytes / size * 100.0).collect();
        let percent = report.figure(
            &format!("growth in the guest, {name}"),
            "% of file",
            &Series::new(grown),
        );
        report.aim(
            &format!("growth of Cached+Buffers+Slab in percent, {name}"),
            side,
            limit,
            percent,
        );
    }
    two_sandboxes(&host, &mut report)?;
    report.publish(&bench.flags)
}

/// By how many bytes the guest's caches grow when it reads the large file after the small one.
fn growth(host: &Host, flags: &[&str]) -> anyhow::Result<f64> {
    let sleeper = host.sleeper("reader", flags, files::IMAGE)?;
    sleeper.shell("cat /warm >/dev/null")?;
    let before = file_caches(&sleeper)?;
    sleeper.shell("cat /large >/dev/null")?;
    Ok(file_caches(&sleeper)? - before)
}

/// What the host spends on one sandbox and on two that have read the same file.
fn two_sandboxes(host: &Host, report: &mut Report) -> anyhow::Result<()> {
    let first = host.sleeper("first", &[], files::IMAGE)?;
    first.shell("cat /large >/dev/null")?;
    tell(report, "one sandbox", &first)?;
    let second = host.sleeper("second", &[], files::IMAGE)?;
    second.shell("cat /large >/dev/null")?;
    tell(report, "each of two, the first", &first)?;
    tell(report, "each of two, the second", &second)
}

fn tell(report: &mut Report, name: &str, sleeper: &Sleeper<'_>) -> anyhow::Result<()> {
    let (monitor, qemu) = (
        Resident::of(sleeper.monitor()?)?,
        Resident::of(sleeper.qemu()?)?,
    );
    let images = Resident::of_images(sleeper.qemu()?)?;
    for (part, bytes) in [
        ("image pages, RSS", images.rss),
        ("image pages, PSS", images.pss),
        ("QEMU without image pages, PSS", qemu.pss - images.pss),
        ("monitor, RSS", monitor.rss),
        ("monitor, PSS", monitor.pss),
    ] {
        report.figure(
            &format!("{name}: {part}"),
            "MB",
            &Series::new(vec![bytes / MEGABYTE as f64]),
        );
    }
    Ok(())
}
