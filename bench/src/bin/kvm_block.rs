//! How fast is the disk of a machine on KVM, and how often does a request leave the guest, beside QEMU's virtio-blk on the
//! same file in the same host?
//!
//! The guests have the same kernel and the same initramfs, in which fio runs; each machine has one CPU, one disk and a serial
//! port. The file lies on the lab's own ext4 and has been read once, so all but flushes ends in the lab's page cache.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use cenote_bench::cost;
use cenote_bench::host::Host;
use cenote_bench::lab::Lab;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, each_in_turn};
use clap::Parser;
use serde::Deserialize;

/// Measures the disk of a machine on KVM beside QEMU's
#[derive(Debug, Parser)]
struct KvmBlock {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    #[command(flatten)]
    flags: Flags,
}

/// One row of one run, as `count_rows` tells it.
#[derive(Debug, Deserialize)]
struct Row {
    kibibytes: u64,
    milliseconds: u64,
    exits: u64,
    user: u64,
}

/// The rows of one run.
type Rows = BTreeMap<String, Row>;

/// Name, and KiB of a request.
const ROWS: [(&str, u64); 8] = [
    ("randread-1", 4),
    ("randread-32", 4),
    ("randwrite-1", 4),
    ("randwrite-32", 4),
    ("read-1", 1024),
    ("read-32", 1024),
    ("write-1", 1024),
    ("write-32", 1024),
];
/// The guest's /init.
const INIT: &str = include_str!("../inside/disk_init.sh");
/// The programs of busybox that it calls.
const APPLETS: [&str; 6] = ["sh", "mount", "mkdir", "sleep", "awk", "poweroff"];
/// Where the program that is measured with comes from.
const FIO: &str = "/usr/bin/fio";
/// MiB of the guest's memory.
const MEMORY: u64 = 512;

fn main() -> anyhow::Result<()> {
    let bench = KvmBlock::parse();
    let mut report = Report::new(
        "kvm_block",
        "How fast is the disk of a machine on KVM, beside QEMU's?",
    );
    let host = Host::with_busybox()?;
    let initramfs = initramfs(&host.scratch().join("disk-guest"))?;
    let lab = Lab::with_busybox(&host, &["count_rows", "boot_disk"], &[&initramfs])?;
    lab.describe(&mut report)?;
    report.condition(
        "machines",
        format!("1 virtual CPU, {MEMORY} MiB, inside the lab (1 emulated CPU with SVM unless the host has KVM)"),
    );
    report.condition("fio", version()?);

    let disk = lab.run(
        "mkdir -p /tmp/ext4 && mknod /tmp/vda b $(tr : ' ' </sys/block/vda/dev) && mount -t ext4 /tmp/vda /tmp/ext4 && \
         tr '\\0' x </dev/zero | head -c 134217728 >/tmp/ext4/disk.raw && sync && echo /tmp/ext4/disk.raw",
    )?;
    let (disk, memory) = (disk.trim(), MEMORY);
    let vmlinux = lab.kernel_file("vmlinux")?;
    let initramfs = "/bench/disk-guest.cpio";
    let line = "earlyprintk=serial,0x3f8,115200,keep quiet loglevel=2 cryptomgr.notests no_timer_check panic=-1 \
                8250.nr_uarts=0 dummy.numdummies=0";
    let ours = format!(
        "count_rows boot_disk {memory} {vmlinux} {initramfs} '{line} pci=off reboot=acpi' {disk}"
    );
    let microvm = lab.peer("microvm", &vmlinux);
    let peer = |drive: &str, device: &str| {
        format!(
            "count_rows {microvm} -m {memory} -serial stdio -initrd {initramfs} -append '{line} reboot=t' \
             -object iothread,id=thread -drive file={disk},format=raw,if=none,id=disk{drive} \
             -device virtio-blk-device,drive=disk,num-queues=1{device}"
        )
    };
    let sides = [
        ("cenote", ours),
        ("QEMU", peer("", "")),
        (
            "QEMU, iothread and io_uring",
            peer(",aio=io_uring", ",iothread=thread"),
        ),
    ];
    let runs: Vec<Vec<Rows>> = each_in_turn(bench.pairs, &sides, |(_, script)| {
        lab.told(&format!("cat {disk} >/dev/null && {script}"))
    })?;
    for (name, size) in ROWS {
        let speeds =
            |side: usize| -> anyhow::Result<Series> { per_second(&runs[side], name, size) };
        let own = speeds(0)?;
        report.figure(&format!("{name}: cenote"), "per s", &own);
        for (index, (peer, _)) in sides.iter().enumerate().skip(1) {
            let ratio = own.ratio(&speeds(index)?);
            let median = report.figure(&format!("{name}: cenote / {peer}"), "ratio", &ratio);
            report.aim(
                &format!("{name}, times {peer}'s"),
                Side::AtLeast,
                1.0,
                median,
            );
        }
        for ((side, _), runs) in sides.iter().zip(&runs) {
            count(
                &mut report,
                &format!("{name}: {side}, exits"),
                runs,
                name,
                size,
                |row| row.exits,
            )?;
            count(
                &mut report,
                &format!("{name}: {side}, to user space"),
                runs,
                name,
                size,
                |row| row.user,
            )?;
        }
    }
    report.publish(&bench.flags)
}

fn row<'a>(rows: &'a Rows, name: &str) -> anyhow::Result<&'a Row> {
    rows.get(name)
        .with_context(|| format!("a guest has no row {name}"))
}

/// Requests per second.
fn per_second(runs: &[Rows], name: &str, size: u64) -> anyhow::Result<Series> {
    let speeds = runs.iter().map(|rows| {
        let row = row(rows, name)?;
        ensure!(
            row.milliseconds > 0 && row.kibibytes > 0,
            "{name} did nothing"
        );
        Ok(row.kibibytes as f64 / size as f64 * 1000.0 / row.milliseconds as f64)
    });
    Ok(Series::new(speeds.collect::<anyhow::Result<_>>()?))
}

/// Adds how many exits of a kind a request costs.
fn count(
    report: &mut Report,
    label: &str,
    runs: &[Rows],
    name: &str,
    size: u64,
    of: impl Fn(&Row) -> u64,
) -> anyhow::Result<()> {
    let counts = runs.iter().map(|rows| {
        let row = row(rows, name)?;
        Ok(of(row) as f64 * size as f64 / row.kibibytes as f64)
    });
    let counts = Series::new(counts.collect::<anyhow::Result<_>>()?);
    report.figure(label, "per request", &counts);
    Ok(())
}

fn version() -> anyhow::Result<String> {
    let (_, told) = cost::of(Command::new(FIO).arg("--version"))?;
    Ok(String::from_utf8_lossy(&told.stdout).trim().to_owned())
}

/// Makes the guest's initramfs of busybox, fio and fio's libraries beside the folder `root`, and answers where.
fn initramfs(root: &Path) -> anyhow::Result<PathBuf> {
    let bin = root.join("bin");
    for folder in ["bin", "proc", "sys", "dev"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy("/bin/busybox", bin.join("busybox")).context("cannot copy /bin/busybox")?;
    for applet in APPLETS {
        symlink("busybox", bin.join(applet))?;
    }
    fs::copy(FIO, bin.join("fio"))
        .with_context(|| format!("cannot copy {FIO}: install the package fio"))?;
    let (_, libraries) = cost::of(Command::new("ldd").arg(FIO))?;
    for library in String::from_utf8_lossy(&libraries.stdout).split_whitespace() {
        if library.starts_with('/') {
            let to = root.join(library.trim_start_matches('/'));
            fs::create_dir_all(to.parent().context("a library lies in a folder")?)?;
            fs::copy(library, to).with_context(|| format!("cannot copy {library}"))?;
        }
    }
    let init = root.join("init");
    fs::write(&init, INIT)?;
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755))?;
    let archive = root.with_extension("cpio");
    let pack = format!("find . | cpio --quiet -o -H newc >{}", archive.display());
    cost::of(Command::new("sh").args(["-c", &pack]).current_dir(root))?;
    Ok(archive)
}
