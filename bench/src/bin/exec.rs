//! How many execs per second does a running sandbox take, beside a fork+exec loop of a shell in the same container, and how
//! long does the slowest of 100 parallel ones take?

use std::thread;
use std::time::Instant;

use anyhow::{Context, ensure};
use cenote_bench::cost;
use cenote_bench::host::{Host, Sleeper};
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, in_turn};
use clap::Parser;

/// Measures `cenote exec` beside a fork+exec loop in the same guest
#[derive(Debug, Parser)]
struct Exec {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Programs that each side starts, one after the other
    #[arg(long, default_value_t = 50)]
    sequential: usize,
    /// Programs that are started at the same time
    #[arg(long, default_value_t = 100)]
    parallel: usize,
    #[command(flatten)]
    flags: Flags,
}

/// The program that both sides start.
const PROGRAM: &str = "/bin/true";

fn main() -> anyhow::Result<()> {
    let bench = Exec::parse();
    let mut report = Report::new(
        "exec",
        "How many execs per second, beside a fork+exec loop in the same guest?",
    );
    let host = Host::with_busybox()?;
    report.condition("kernel and tools", host.versions()?);
    let sleeper = host.sleeper("target", &[], "busybox")?;
    report.condition("program", format!("{PROGRAM} of busybox, 1 virtual CPU"));
    let mut one_by_one = || one_by_one(&sleeper, bench.sequential);
    let mut in_guest = || in_guest(&sleeper, bench.sequential);
    one_by_one()?;
    in_guest()?;
    let rates = in_turn(bench.rounds, &mut [&mut one_by_one, &mut in_guest])?;
    let [ours, guest] = [&rates[0], &rates[1]].map(|rates| Series::new(rates.clone()));
    report.figure("cenote exec, one after the other", "1/s", &ours);
    report.figure("fork+exec in the guest", "1/s", &guest);
    let share = report.figure("cenote exec / fork+exec", "ratio", &ours.ratio(&guest));
    report.aim("execs, times the guest's own", Side::AtLeast, 0.5, share);

    let (mut rates, mut medians, mut slowest) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        let begun = Instant::now();
        let latencies = at_once(&sleeper, bench.parallel)?;
        rates.push(bench.parallel as f64 / begun.elapsed().as_secs_f64());
        medians.push(latencies.percentile(50));
        slowest.push(latencies.percentile(99));
    }
    let (medians, slowest) = (Series::new(medians), Series::new(slowest));
    let name = format!("{} at once", bench.parallel);
    report.figure(&name, "1/s", &Series::new(rates));
    report.figure(&format!("{name}, p50"), "s", &medians);
    report.figure(&format!("{name}, p99"), "s", &slowest);
    let spread = report.figure(
        &format!("{name}, p99 / p50"),
        "ratio",
        &slowest.ratio(&medians),
    );
    report.aim(
        &format!("p99 of {name}, times p50"),
        Side::AtMost,
        3.0,
        spread,
    );
    report.publish(&bench.flags)
}

/// Execs per second, one after the other.
fn one_by_one(sleeper: &Sleeper<'_>, count: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for _ in 0..count {
        cost::of(&mut sleeper.exec(&[PROGRAM]))?;
    }
    Ok(count as f64 / begun.elapsed().as_secs_f64())
}

/// Programs per second that a shell in the container starts, by the guest's clock.
fn in_guest(sleeper: &Sleeper<'_>, count: usize) -> anyhow::Result<f64> {
    let script = format!(
        "read begun rest </proc/uptime; i=0; while [ $i -lt {count} ]; do {PROGRAM}; i=$((i+1)); done; \
         read ended rest </proc/uptime; echo $begun $ended"
    );
    let told = sleeper.shell(&script)?;
    let moments: Vec<f64> = told
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    ensure!(moments.len() == 2, "the guest's shell said {told:?}");
    Ok(count as f64 / (moments[1] - moments[0]))
}

/// How long each of `count` execs took that were started at the same time.
fn at_once(sleeper: &Sleeper<'_>, count: usize) -> anyhow::Result<Series> {
    let one = || -> anyhow::Result<f64> {
        let begun = Instant::now();
        let output = sleeper
            .exec(&[PROGRAM])
            .output()
            .context("cannot start `cenote exec`")?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "an exec failed ({}): {}",
            output.status,
            said.trim()
        );
        Ok(begun.elapsed().as_secs_f64())
    };
    let latencies: anyhow::Result<Vec<f64>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("no exec panics"))
            .collect()
    });
    Ok(Series::new(latencies?))
}
