//! What do many small files, and ten megabytes, cost in a guest: on its own disk, on a share over virtio-fs, and over vsock?
//!
//! The files and workers are those of `shares`, in a container with default flags; how many threads serve a share is what
//! `cenote run` chooses. The guest itself takes the time. It forgets what it has read before a first read, on each side.

use std::fs;

use anyhow::Context;
use cenote_bench::host::{Host, Sleeper, built_beside};
use cenote_bench::report::{Flags, Report};
use cenote_bench::series::{Series, each_in_turn};
use cenote_bench::small_files::SmallFiles;
use clap::Parser;

/// Measures small files and dd in a guest: own disk, virtio-fs, vsock
#[derive(Debug, Parser)]
struct GuestFiles {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    files: SmallFiles,
    /// More flags for `cenote run`
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    run: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

/// A side: its name, its container, and where it works there.
const SIDES: [(&str, usize, &str); 3] = [
    ("own disk", 0, "/own"),
    ("virtio-fs", 0, "/share"),
    ("vsock", 1, "/share"),
];
/// The containers' transports.
const TRANSPORTS: [&str; 2] = ["virtiofs", "vsock"];
/// The steps, in this order.
const STEPS: [&str; 6] = [
    "write",
    "first read",
    "second read",
    "dd, write 10 MiB",
    "dd, the same with fsync",
    "dd, read 10 MiB",
];

fn main() -> anyhow::Result<()> {
    let bench = GuestFiles::parse();
    let mut report = Report::new(
        "guest_files",
        "What do small files and ten megabytes cost in a guest?",
    );
    let host = Host::with_busybox()?;
    report.condition("kernel and tools", host.versions()?);
    report.condition("flags of run", bench.run.join(" "));
    report.condition("files", bench.files.condition());
    let program = format!("{}:/file_steps:ro", built_beside("file_steps")?.display());
    let mut containers = Vec::new();
    for transport in TRANSPORTS {
        let share = host.scratch().join(transport);
        fs::create_dir(&share)?;
        let volume = format!("{}:/share", share.display());
        let mut flags = vec![
            "--share-transport",
            transport,
            "-v",
            &volume,
            "-v",
            &program,
        ];
        flags.extend(bench.run.iter().map(String::as_str));
        let container = host.sleeper(transport, &flags, "busybox")?;
        container.shell("mkdir /own")?;
        containers.push(container);
    }
    let given = each_in_turn(bench.rounds, &SIDES, |(_, container, place)| {
        run(bench.files, &containers[*container], place)
    })?;
    for (number, step) in STEPS.iter().enumerate() {
        let times = |runs: &Vec<[f64; STEPS.len()]>| {
            Series::new(runs.iter().map(|run| run[number] * 1000.0).collect())
        };
        let own = times(&given[0]);
        for ((name, ..), runs) in SIDES.iter().zip(&given) {
            report.figure(&format!("{step}: {name}"), "ms", &times(runs));
        }
        for ((name, ..), runs) in SIDES.iter().zip(&given).skip(1) {
            let ratio = times(runs).ratio(&own);
            report.figure(&format!("{step}: {name} / own disk"), "", &ratio);
        }
    }
    report.publish(&bench.flags)
}

/// Seconds of each step.
fn run(
    small: SmallFiles,
    container: &Sleeper<'_>,
    place: &str,
) -> anyhow::Result<[f64; STEPS.len()]> {
    let timed = |words: &str| -> anyhow::Result<f64> {
        let told = container.shell(&format!("exec /file_steps {words}"))?;
        told.trim()
            .parse()
            .with_context(|| format!("{words}: {told}"))
    };
    let files = |step: &str| {
        let SmallFiles { workers, files } = small;
        timed(&format!("{step} {place} {workers} {files}"))
    };
    // Nothing that an earlier step has written is on its way to a disk.
    let settle = || container.shell("sync");
    let forget = || {
        settle()?;
        container.vm("echo 3 >/proc/sys/vm/drop_caches")
    };
    settle()?;
    let write = files("write")?;
    forget()?;
    let (first_read, second_read) = (files("read")?, files("read")?);
    files("remove")?;
    settle()?;
    let to_file = format!("dd if=/dev/zero of={place}/ten bs=1M count=10");
    let dd_write = timed(&to_file)?;
    container.shell(&format!("rm {place}/ten; sync"))?;
    let dd_fsync = timed(&format!("{to_file} conv=fsync"))?;
    forget()?;
    let dd_read = timed(&format!("dd if={place}/ten of=/dev/null bs=1M"))?;
    container.shell(&format!("rm {place}/ten"))?;
    Ok([write, first_read, second_read, dd_write, dd_fsync, dd_read])
}
