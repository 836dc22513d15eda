//! How many requests does an operation on a share send to the file server, and what does each cost, by cache policy?
//!
//! The directory is mounted natively. Requests do not depend on the machine: the policy's defaults were chosen by them.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use cenote_bench::report::{Flags, Report};
use cenote_bench::series::{Series, each_in_turn};
use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Cache, Config, Passthrough, Readdirplus};
use cenote_fuse::server::{Observer, Served, Server};
use cenote_fuse::stats::Stats;
use cenote_fuse::wire::Opcode;
use clap::Parser;

/// Measures single operations through the file server, mounted on the host
#[derive(Debug, Parser)]
struct Operations {
    /// How often each policy runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How many files each operation is done to
    #[arg(long, default_value_t = 1000)]
    files: usize,
    /// The folder to share
    #[arg(long = "in", default_value = "/dev/shm", value_name = "FOLDER")]
    folder: PathBuf,
    #[command(flatten)]
    flags: Flags,
}

const READERS: usize = 4;

/// What is measured, in this order: each finds what the one before has left.
const STEPS: [(&str, Step); 13] = [
    ("lookup miss", |at, number| {
        assert!(plain_stat(&at.join(format!("none-{number}"))).is_err());
        Ok(())
    }),
    ("create, write 4 KiB, close", |at, number| {
        File::create(at.join(number.to_string()))?.write_all(&[1; 4096])
    }),
    ("stat", |at, number| stat(at, number)),
    ("stat again", |at, number| stat(at, number)),
    ("open, close", |at, number| {
        File::open(at.join(number.to_string())).map(|_| ())
    }),
    ("open, read 4 KiB, close", |at, number| read(at, number)),
    ("the same again", |at, number| read(at, number)),
    ("the same, of a client that knows nothing", |at, number| {
        read(at, number)
    }),
    ("overwrite 4 KiB", |at, number| {
        File::options()
            .write(true)
            .open(at.join(number.to_string()))?
            .write_all(&[2; 4096])
    }),
    ("list all, with a stat of each, per file", |at, number| {
        list(at, number)
    }),
    ("the same once more", |at, number| list(at, number)),
    ("rename", |at, number| {
        fs::rename(
            at.join(number.to_string()),
            at.join(format!("renamed-{number}")),
        )
    }),
    ("unlink", |at, number| {
        fs::remove_file(at.join(format!("renamed-{number}")))
    }),
];

/// Those of them that change something. A client that may only read has the host do them.
const CHANGES: [&str; 4] = ["create", "overwrite", "rename", "unlink"];

type Step = fn(&Path, usize) -> std::io::Result<()>;

fn stat(at: &Path, number: usize) -> std::io::Result<()> {
    plain_stat(&at.join(number.to_string()))
}

/// As most programs do it: the standard library would ask for the time of birth as well, which is a request of its own.
fn plain_stat(path: &Path) -> std::io::Result<()> {
    rustix::fs::lstat(path)?;
    Ok(())
}

fn read(at: &Path, number: usize) -> std::io::Result<()> {
    let mut data = [0; 4096];
    File::open(at.join(number.to_string()))?.read_exact(&mut data)
}

/// Lists the folder when it comes to the first file: the price is all files' together.
fn list(at: &Path, number: usize) -> std::io::Result<()> {
    if number == 0 {
        for entry in fs::read_dir(at)? {
            plain_stat(&entry?.path())?;
        }
    }
    Ok(())
}

/// Counts what a client has to wait for.
#[derive(Debug, Clone, Default)]
struct Counter(Arc<AtomicU64>);

impl Observer for Counter {
    fn served(&self, served: &Served) {
        let unheard = [
            Some(Opcode::Forget),
            Some(Opcode::BatchForget),
            Some(Opcode::Release),
            Some(Opcode::Releasedir),
        ];
        if !unheard.contains(&served.opcode) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Of one step, for each file.
#[derive(Debug, Clone, Copy)]
struct Cost {
    requests: f64,
    microseconds: f64,
    server: f64,
}

fn main() -> anyhow::Result<()> {
    let bench = Operations::parse();
    let mut report = Report::new(
        "operations",
        "How many requests does an operation on a share send, and what does each cost?",
    );
    report.condition(
        "files",
        format!(
            "{} of 4 KiB in {}, one thread",
            bench.files,
            bench.folder.display()
        ),
    );
    let with = |cache, readdirplus, writeback| {
        Some(Config {
            cache,
            readdirplus,
            writeback,
            ..Config::default()
        })
    };
    let policies = [
        ("host", None),
        ("never", with(Cache::Never, Readdirplus::Auto, false)),
        ("metadata", with(Cache::Metadata, Readdirplus::Auto, false)),
        ("auto", with(Cache::Auto, Readdirplus::Auto, false)),
        (
            "auto, no readdirplus",
            with(Cache::Auto, Readdirplus::Never, false),
        ),
        (
            "auto, always readdirplus",
            with(Cache::Auto, Readdirplus::Always, false),
        ),
        (
            "auto, writeback",
            with(Cache::Auto, Readdirplus::Auto, true),
        ),
        ("always", with(Cache::Always, Readdirplus::Auto, false)),
        (
            "always, read-only",
            with(Cache::Always, Readdirplus::Auto, false).map(|config| Config {
                read_only: true,
                ..config
            }),
        ),
    ];
    let scratch = tempfile::tempdir_in(&bench.folder)
        .with_context(|| format!("cannot work in {}", bench.folder.display()))?;
    let given = each_in_turn(bench.rounds, &policies, |(_, config)| {
        measure(&bench, scratch.path(), config.as_ref())
    })?;
    for (step, (what, _)) in STEPS.iter().enumerate() {
        for ((policy, config), rounds) in policies.iter().zip(&given) {
            if reads_only(config.as_ref()) && changes(what) {
                continue;
            }
            let series = |pick: fn(&Cost) -> f64| {
                Series::new(rounds.iter().map(|costs| pick(&costs[step])).collect())
            };
            let name = format!("{what}: {policy}");
            if config.is_some() {
                report.figure(&name, "requests", &series(|cost| cost.requests));
                report.figure(&name, "us of the server", &series(|cost| cost.server));
            }
            report.figure(&name, "us", &series(|cost| cost.microseconds));
        }
    }
    let counting = (0..bench.rounds).map(|_| counting()).collect();
    report.figure(
        "counting a request for `cenote stats`",
        "us of the server",
        &Series::new(counting),
    );
    report.publish(&bench.flags)
}

/// Microseconds that it takes to count a request, with the three readings of the clock that it needs.
fn counting() -> f64 {
    const REQUESTS: u32 = 100_000;
    let stats = Stats::default();
    let begin = Instant::now();
    for request in 0..REQUESTS {
        let served = Served {
            opcode: Some(Opcode::Read),
            unique: request.into(),
            node: 1,
            uid: 0,
            pid: 0,
            error: None,
            bytes: 4096,
            arrived: Instant::now(),
            begun: Instant::now(),
            file_system: Duration::ZERO,
            done: Instant::now(),
        };
        stats.count(&served);
    }
    begin.elapsed().as_secs_f64() * 1e6 / f64::from(REQUESTS)
}

fn measure(
    bench: &Operations,
    scratch: &Path,
    config: Option<&Config>,
) -> anyhow::Result<Vec<Cost>> {
    let (shared, point) = (scratch.join("shared"), scratch.join("mount"));
    fs::create_dir_all(&shared)?;
    fs::create_dir_all(&point)?;
    let counter = Counter::default();
    let mount = || -> anyhow::Result<Option<Session>> {
        let Some(config) = config else {
            return Ok(None);
        };
        let directory = Passthrough::new(&shared, config.clone())?;
        let server = Server::new(directory).with_observer(Arc::new(counter.clone()));
        Ok(Some(Session::mount(Arc::new(server), &point, READERS)?))
    };
    let mut session = mount()?;
    let mut costs = Vec::new();
    for (what, step) in STEPS {
        if what.contains("knows nothing") {
            drop(session.take());
            session = mount()?;
        }
        let (requests, server) = (counter.0.load(Ordering::Relaxed), server_time()?);
        let on_host = config.is_none() || reads_only(config) && changes(what);
        let place = if on_host { &shared } else { &point };
        let begun = Instant::now();
        for number in 0..bench.files {
            step(place, number)?;
        }
        let each = |total: f64| total / bench.files as f64;
        costs.push(Cost {
            microseconds: each(begun.elapsed().as_secs_f64() * 1e6),
            requests: each((counter.0.load(Ordering::Relaxed) - requests) as f64),
            server: each(server_time()? - server),
        });
    }
    drop(session);
    Ok(costs)
}

fn changes(step: &str) -> bool {
    CHANGES.iter().any(|change| step.starts_with(change))
}

fn reads_only(config: Option<&Config>) -> bool {
    config.is_some_and(|config| config.read_only)
}

/// Microseconds that the server's threads have run so far.
fn server_time() -> anyhow::Result<f64> {
    let mut total = 0.0;
    for task in fs::read_dir("/proc/self/task")? {
        let task = task?.path();
        if fs::read_to_string(task.join("comm"))?.trim() != "fuse" {
            continue;
        }
        let ran = fs::read_to_string(task.join("schedstat"))?;
        let nanoseconds = ran.split(' ').next().context("an empty schedstat")?;
        total += nanoseconds.parse::<f64>()? / 1000.0;
    }
    Ok(total)
}
