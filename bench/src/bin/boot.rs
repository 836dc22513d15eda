//! How long does `cenote run --rm busybox true` take, phase by phase, beside the floor: the same machine and kernel with one
//! static program that powers it off?

use std::collections::BTreeMap;
use std::fs;

use cenote_bench::cost::{self, Cost};
use cenote_bench::floor::{self, Floor};
use cenote_bench::host::{Host, built_beside};
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, in_turn};
use clap::Parser;

/// Measures `cenote run --rm busybox true` beside a bare boot of the same machine
#[derive(Debug, Parser)]
struct Boot {
    /// How often each side runs
    #[arg(long, default_value_t = 10)]
    pairs: usize,
    #[command(flatten)]
    flags: Flags,
}

/// One run: what it cost, and the phases that `--timing` told.
struct Run {
    cost: Cost,
    phases: Vec<(String, f64)>,
}

fn main() -> anyhow::Result<()> {
    let boot = Boot::parse();
    let mut report = Report::new(
        "boot",
        "How long does `cenote run --rm busybox true` take beside the floor?",
    );
    let host = Host::with_busybox()?;
    let initramfs = host.scratch().join("floor.cpio");
    // It powers the floor's guest off.
    let init = fs::read(built_beside("floor_init")?)?;
    fs::write(&initramfs, floor::initramfs(&init))?;
    let sleeper = host.sleeper("model", &[], "busybox")?;
    let floor = Floor::below(sleeper.qemu()?, &initramfs)?;
    drop(sleeper);
    report.condition("kernel and tools", host.versions()?);
    report.condition("machine", floor.machine());

    let bare = || {
        Ok(Run {
            cost: cost::of(&mut floor.command())?.0,
            phases: Vec::new(),
        })
    };
    let ours = |network| run(&host, network);
    // Once each beforehand, so that both find their files in the page cache.
    ours("none")?;
    ours("default")?;
    bare()?;
    let runs = in_turn(
        boot.pairs,
        &mut [&mut || ours("none"), &mut || bare(), &mut || {
            ours("default")
        }],
    )?;
    let [alone, bare, connected] = &runs[..] else {
        unreachable!("three sides were measured")
    };
    let floor_wall = tell(&mut report, "floor", bare);
    for (name, runs) in [("--network none", alone), ("--network default", connected)] {
        let wall = tell(&mut report, name, runs);
        let ratio = report.figure(
            &format!("{name} / floor"),
            "ratio",
            &wall.ratio(&floor_wall),
        );
        report.aim(
            &format!("cenote run --rm {name} busybox true, times the floor"),
            Side::AtMost,
            1.3,
            ratio,
        );
    }
    report.publish(&boot.flags)
}

fn run(host: &Host, network: &str) -> anyhow::Result<Run> {
    let (cost, output) = host.measure(&[
        "run",
        "--rm",
        "-q",
        "--timing",
        "--network",
        network,
        "busybox",
        "true",
    ])?;
    let phases = String::from_utf8_lossy(&output.stderr)
        .lines()
        .filter_map(phase)
        .collect();
    Ok(Run { cost, phases })
}

/// A line of `--timing`, which ends in a name, a number and `ms`.
fn phase(line: &str) -> Option<(String, f64)> {
    let mut words = line.split_whitespace().rev();
    if words.next()? != "ms" {
        return None;
    }
    let length = words.next()?.parse().ok()?;
    Some((words.next()?.to_owned(), length))
}

/// Adds one side's figures to the report, and answers its wall times.
fn tell(report: &mut Report, name: &str, runs: &[Run]) -> Series {
    let costs: Vec<Cost> = runs.iter().map(|run| run.cost).collect();
    let (wall, cpu) = cost::series(&costs);
    report.figure(name, "s", &wall);
    report.figure(&format!("{name}, processor time"), "s", &cpu);
    let mut order = Vec::new();
    let mut phases: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (phase, length) in runs.iter().flat_map(|run| &run.phases) {
        if !phases.contains_key(phase.as_str()) {
            order.push(phase.as_str());
        }
        phases.entry(phase).or_default().push(*length);
    }
    for phase in order {
        report.figure(
            &format!("{name}, {phase}"),
            "ms",
            &Series::new(phases[phase].clone()),
        );
    }
    wall
}
