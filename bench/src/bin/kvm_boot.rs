//! How long does a machine on KVM take until the agent's first message, and how often does it leave the guest until then,
//! beside QEMU with the same kernel and initramfs in the same host?
//!
//! Ours ends with the agent's first message over vsock. QEMU has no vhost-vsock here: the same agent then says on the serial
//! port that it found no vsock, and with the first bytes of that the peer's boot ends. All kernels are silent. Ours has its
//! devices (vsock, console and two pmem for the image), the peers have none but the serial port.

use std::collections::{BTreeMap, BTreeSet};

use cenote_bench::host::Host;
use cenote_bench::lab::Lab;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, each_in_turn};
use clap::Parser;
use serde::Deserialize;

/// Measures the boot of a machine on KVM beside QEMU's microvm and q35
#[derive(Debug, Parser)]
struct KvmBoot {
    /// How often each side runs
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    #[command(flatten)]
    flags: Flags,
}

/// One boot, as `count_exits` tells it.
#[derive(Debug, Deserialize)]
struct Boot {
    seconds: f64,
    /// Exits by the hardware's reason.
    exits: BTreeMap<String, u64>,
    /// Exits to user space by KVM's reason.
    user: BTreeMap<String, u64>,
}

/// What `exit_reason` of SVM means (AMD64 Architecture Programmer's Manual, volume 2, appendix C), for those that are met.
const SVM: [(&str, &str); 10] = [
    ("20", "CR4 write"),
    ("96", "interrupt of the host"),
    ("100", "interrupt window"),
    ("114", "CPUID"),
    ("120", "HLT"),
    ("123", "port"),
    ("124", "MSR"),
    ("129", "VMMCALL"),
    ("141", "XSETBV"),
    ("1024", "nested page fault"),
];
/// The reasons that grow with the seconds that a boot takes and not with what it does: ticks.
const TICKS: [&str; 2] = ["96", "100"];
/// `KVM_EXIT_*` of `linux/kvm.h`.
const USER: [(&str, &str); 3] = [("2", "port"), ("6", "MMIO"), ("10", "signal")];

fn main() -> anyhow::Result<()> {
    let boot = KvmBoot::parse();
    let mut report = Report::new(
        "kvm_boot",
        "How long and how many exits is it to the agent's first message on KVM, beside QEMU?",
    );
    let host = Host::with_busybox()?;
    let lab = Lab::with_busybox(&host, &["count_exits"], &[])?;
    lab.describe(&mut report)?;
    report.condition(
        "machines",
        "1 virtual CPU, 512 MiB, inside the lab (1 emulated CPU with SVM unless the host has KVM), in memory that nothing ran in",
    );

    let kernel = lab.kernel();
    let ours = format!(
        "cenote run --rm --quiet --vmm kvm --network none --read-only --memory 512m --kernel {kernel} busybox true"
    );
    // Its first run makes the initramfs that all use.
    lab.run(&format!("{ours} || true"))?;
    let (vmlinux, initramfs) = (lab.kernel_file("vmlinux")?, lab.kernel_file("initramfs-*")?);
    let peer = |machine: &str| {
        format!(
            "count_exits 'cenote-guest: ' {} -m 512 -serial stdio -initrd {initramfs} -append \
             'panic=-1 reboot=t quiet loglevel=3 cryptomgr.notests no_timer_check console=ttyS0'",
            lab.peer(machine, &vmlinux)
        )
    };
    let ours = format!("CENOTE_LOG=cenote_sandbox=debug count_exits 'the agent has called' {ours}");
    let sides = [
        ("cenote", ours),
        ("microvm", peer("microvm")),
        ("q35", peer("q35")),
    ];
    let runs: Vec<Vec<Boot>> = each_in_turn(boot.pairs, &sides, |(_, script)| lab.told(script))?;
    let mut seconds = Vec::new();
    let mut totals = Vec::new();
    for ((name, _), runs) in sides.iter().zip(&runs) {
        let time = Series::new(runs.iter().map(|run| run.seconds).collect());
        report.figure(&format!("{name}, time"), "s", &time);
        seconds.push(time);
        let all = |run: &Boot| run.exits.values().sum::<u64>();
        let ticks = |run: &Boot| {
            TICKS
                .iter()
                .filter_map(|reason| run.exits.get(*reason))
                .sum::<u64>()
        };
        let user = |run: &Boot| run.user.values().sum::<u64>();
        let exits = count(&mut report, &format!("{name}, exits"), runs, all);
        count(
            &mut report,
            &format!("{name}, exits but for ticks"),
            runs,
            |run| all(run) - ticks(run),
        );
        let user = count(
            &mut report,
            &format!("{name}, exits to user space"),
            runs,
            user,
        );
        totals.push((exits, user));
        by_reason(&mut report, name, runs, |run| &run.exits, &SVM);
        by_reason(
            &mut report,
            &format!("{name}, to user space"),
            runs,
            |run| &run.user,
            &USER,
        );
    }
    for (index, peer) in [(1, "microvm"), (2, "q35")] {
        let ratio = report.figure(
            &format!("cenote / {peer}, time"),
            "ratio",
            &seconds[0].ratio(&seconds[index]),
        );
        report.aim(
            &format!("time, times {peer}'s"),
            Side::AtMost,
            if index == 1 { 0.5 } else { 1.0 },
            ratio,
        );
    }
    report.aim(
        "exits until the agent's first message",
        Side::AtMost,
        2600.0,
        totals[0].0,
    );
    report.aim("of them to user space", Side::AtMost, 150.0, totals[0].1);
    report.publish(&boot.flags)
}

fn count(report: &mut Report, name: &str, runs: &[Boot], of: impl Fn(&Boot) -> u64) -> f64 {
    report.figure(
        name,
        "",
        &Series::new(runs.iter().map(|run| of(run) as f64).collect()),
    )
}

/// Adds a line for each reason that was met.
fn by_reason(
    report: &mut Report,
    name: &str,
    runs: &[Boot],
    of: impl Fn(&Boot) -> &BTreeMap<String, u64>,
    names: &[(&str, &str)],
) {
    let reasons: BTreeSet<&String> = runs.iter().flat_map(|run| of(run).keys()).collect();
    for reason in reasons {
        let known = names.iter().find(|(number, _)| number == reason);
        let known = known.map_or_else(
            || format!("reason {reason}"),
            |(_, known)| (*known).to_owned(),
        );
        count(report, &format!("{name}: {known}"), runs, |run| {
            of(run).get(reason).copied().unwrap_or(0)
        });
    }
}
