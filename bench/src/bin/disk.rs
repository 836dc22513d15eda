//! What does writing a large file to the container's root cost: seconds, the guest's memory, the host's memory and disk?
//!
//! The writable layer is an ext4 disk; a tmpfs beside it is what the same bytes would cost in memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Instant;

use cenote_bench::host::{Host, Sleeper};
use cenote_bench::memory::{Resident, file_caches};
use cenote_bench::report::{Flags, Report};
use cenote_bench::series::Series;
use clap::Parser;

/// Measures a large file written to the container's root, and to a tmpfs
#[derive(Debug, Parser)]
struct Disk {
    /// How often each side runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// The file's size in MiB
    #[arg(long, default_value_t = 256)]
    mebibytes: u64,
    #[command(flatten)]
    flags: Flags,
}

/// What one write left behind.
struct Cost {
    start: f64,
    written: f64,
    synced: f64,
    cached: f64,
    cached_after_sync: f64,
    cached_after_drop: f64,
    qemu: f64,
    host_disk: f64,
}

const MEBIBYTE: f64 = 1024.0 * 1024.0;

fn main() -> anyhow::Result<()> {
    let bench = Disk::parse();
    let mut report = Report::new(
        "disk",
        "What does a large file on the container's root cost?",
    );
    report.condition(
        "file",
        format!(
            "{} MiB by dd bs=1M from /dev/zero, 512 MiB of memory",
            bench.mebibytes
        ),
    );
    let host = Host::with_busybox()?;
    report.condition("kernel and tools", host.versions()?);
    let in_memory = format!("/scratch:size={}m", bench.mebibytes + 1);
    for (name, path, flags) in [
        ("ext4", "/large", &[][..]),
        (
            "tmpfs",
            "/scratch/large",
            &["--tmpfs", in_memory.as_str()][..],
        ),
    ] {
        let costs: anyhow::Result<Vec<Cost>> = (0..bench.rounds)
            .map(|_| write(&host, path, flags, bench.mebibytes))
            .collect();
        tell(&mut report, name, &costs?);
    }
    report.publish(&bench.flags)
}

fn write(host: &Host, path: &str, flags: &[&str], mebibytes: u64) -> anyhow::Result<Cost> {
    let begun = Instant::now();
    let sleeper = host.sleeper("writer", flags, "busybox")?;
    let start = begun.elapsed().as_secs_f64();
    let before = file_caches(&sleeper)?;
    let (used, resident) = (
        disk_usage(&host.data().join("sandboxes"))?,
        Resident::of(sleeper.qemu()?)?.pss,
    );
    let written = seconds(
        &sleeper,
        &format!("dd if=/dev/zero of={path} bs=1M count={mebibytes} 2>/dev/null"),
    )?;
    let cached = file_caches(&sleeper)? - before;
    let synced = seconds(&sleeper, "sync")?;
    let cached_after_sync = file_caches(&sleeper)? - before;
    sleeper.vm("echo 1 >/proc/sys/vm/drop_caches")?;
    Ok(Cost {
        start,
        written,
        synced,
        cached,
        cached_after_sync,
        cached_after_drop: file_caches(&sleeper)? - before,
        qemu: Resident::of(sleeper.qemu()?)?.pss - resident,
        host_disk: disk_usage(&host.data().join("sandboxes"))? - used,
    })
}

fn seconds(sleeper: &Sleeper<'_>, script: &str) -> anyhow::Result<f64> {
    let begun = Instant::now();
    sleeper.shell(script)?;
    Ok(begun.elapsed().as_secs_f64())
}

fn tell(report: &mut Report, name: &str, costs: &[Cost]) {
    let mut figure = |what: &str, unit, field: fn(&Cost) -> f64, scale: f64| {
        let values = costs.iter().map(|cost| field(cost) / scale).collect();
        report.figure(&format!("{name}: {what}"), unit, &Series::new(values));
    };
    figure("start", "s", |cost| cost.start, 1.0);
    figure("write", "s", |cost| cost.written, 1.0);
    figure("sync", "s", |cost| cost.synced, 1.0);
    figure(
        "caches of the guest after the write",
        "MiB",
        |cost| cost.cached,
        MEBIBYTE,
    );
    figure(
        "caches of the guest after sync",
        "MiB",
        |cost| cost.cached_after_sync,
        MEBIBYTE,
    );
    figure(
        "caches of the guest after drop_caches",
        "MiB",
        |cost| cost.cached_after_drop,
        MEBIBYTE,
    );
    figure("QEMU, PSS, at the end", "MiB", |cost| cost.qemu, MEBIBYTE);
    figure("disk of the host", "MiB", |cost| cost.host_disk, MEBIBYTE);
}

/// Bytes that the files below `folder` take on the disk.
fn disk_usage(folder: &Path) -> anyhow::Result<f64> {
    let mut used = 0.0;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let meta = fs::symlink_metadata(&path)?;
        used += if meta.is_dir() {
            disk_usage(&path)?
        } else {
            (meta.blocks() * 512) as f64
        };
    }
    Ok(used)
}
