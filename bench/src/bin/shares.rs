//! What does the file server cost many workers with many small files, by number of its threads, beside the host itself?
//!
//! The directory is mounted natively, so this is the server and the messages alone: no virtual machine.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::time::Instant;

use anyhow::Context;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, in_turn};
use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Config, Passthrough};
use cenote_fuse::server::Server;
use clap::Parser;

/// Measures small files through the file server, mounted on the host
#[derive(Debug, Parser)]
struct Shares {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many threads work at once
    #[arg(long, default_value_t = 256)]
    workers: usize,
    /// How many files they share
    #[arg(long, default_value_t = 1024)]
    files: usize,
    /// Folders to share: one on a disk, one in memory
    #[arg(long = "in", default_values = ["target/bench", "/dev/shm"], value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

const SIZE: usize = 4096;
/// The server's threads on each side; none is the host itself.
const READERS: [Option<usize>; 5] = [None, Some(1), Some(4), Some(16), Some(64)];
/// What the busiest server may cost, as times what the host itself takes.
const WRITE_AIM: f64 = 1.05;
const READ_AIM: f64 = 2.5;

/// Seconds of one run.
struct Run {
    write: f64,
    /// By a client that knows nothing of the files; the host has them in memory.
    first_read: f64,
    second_read: f64,
}

fn main() -> anyhow::Result<()> {
    let bench = Shares::parse();
    let mut report = Report::new(
        "shares",
        "What does the file server cost with many small files?",
    );
    report.condition(
        "files",
        format!(
            "{} of {SIZE} bytes, {} workers; write is open, write, fsync, close",
            bench.files, bench.workers
        ),
    );
    for folder in &bench.folders {
        measure(&bench, folder, &mut report)?;
    }
    report.publish(&bench.flags)
}

fn measure(bench: &Shares, folder: &Path, report: &mut Report) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let scratch = tempfile::tempdir_in(folder)
        .with_context(|| format!("cannot work in {}", folder.display()))?;
    let (shared, point) = (scratch.path().join("shared"), scratch.path().join("mount"));
    fs::create_dir(&shared)?;
    fs::create_dir(&point)?;
    let mut runs: Vec<_> = READERS
        .iter()
        .map(|readers| {
            let (shared, point) = (&shared, &point);
            move || run(bench, shared, point, *readers)
        })
        .collect();
    let mut sides: Vec<&mut dyn FnMut() -> anyhow::Result<Run>> = Vec::new();
    for run in &mut runs {
        sides.push(run);
    }
    let given = in_turn(bench.rounds, &mut sides)?;
    for (what, aim, pick) in [
        (
            "write",
            Some(WRITE_AIM),
            (|run| run.write) as fn(&Run) -> f64,
        ),
        ("first read", Some(READ_AIM), |run| run.first_read),
        ("second read", None, |run| run.second_read),
    ] {
        let series: Vec<_> = given
            .iter()
            .map(|runs| Series::new(runs.iter().map(|run| pick(run) * 1000.0).collect()))
            .collect();
        for (readers, times) in READERS.iter().zip(&series) {
            let who = readers.map_or("host".to_owned(), |readers| format!("{readers} threads"));
            let name = format!("{}: {what}, {who}", folder.display());
            report.figure(&name, "ms", times);
            let ratio = times.ratio(&series[0]);
            if *readers == READERS[READERS.len() - 1] {
                let median = report.figure(&format!("{name} / host"), "", &ratio);
                if let Some(aim) = aim {
                    report.aim(&format!("{name} / host"), Side::AtMost, aim, median);
                }
            }
        }
    }
    Ok(())
}

fn run(bench: &Shares, shared: &Path, point: &Path, readers: Option<usize>) -> anyhow::Result<Run> {
    let mount = || -> anyhow::Result<Option<Session>> {
        let Some(readers) = readers else {
            return Ok(None);
        };
        let directory = Passthrough::new(shared, Config::default())?;
        let server = Arc::new(Server::new(directory));
        Ok(Some(Session::mount(server, point, readers)?))
    };
    let place = if readers.is_some() { point } else { shared };
    let session = mount()?;
    let write = timed(bench, |number| {
        let mut file = File::create(place.join(number.to_string()))?;
        file.write_all(&[number as u8; SIZE])?;
        file.sync_all()
    })?;
    drop(session);
    // A client that knows nothing of the files.
    let session = mount()?;
    let read = || {
        timed(bench, |number| {
            let mut data = [0; SIZE];
            File::open(place.join(number.to_string()))?.read_exact(&mut data)?;
            assert!(data.iter().all(|byte| *byte == number as u8));
            Ok(())
        })
    };
    let (first_read, second_read) = (read()?, read()?);
    drop(session);
    for number in 0..bench.files {
        fs::remove_file(shared.join(number.to_string()))?;
    }
    Ok(Run {
        write,
        first_read,
        second_read,
    })
}

/// Lets the workers do something to every file, and answers the seconds from when the first begins until the last is done.
fn timed(
    bench: &Shares,
    work: impl Fn(usize) -> std::io::Result<()> + Sync,
) -> anyhow::Result<f64> {
    let begin = Barrier::new(bench.workers);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..bench.workers)
            .map(|worker| {
                let (begin, work) = (&begin, &work);
                scope.spawn(move || {
                    begin.wait();
                    let begun = Instant::now();
                    (worker..bench.files)
                        .step_by(bench.workers)
                        .try_for_each(work)
                        .map(|()| (begun, Instant::now()))
                })
            })
            .collect();
        let times: Vec<_> = workers
            .into_iter()
            .map(|worker| worker.join().expect("a worker"))
            .collect::<Result<_, _>>()?;
        let begun = times.iter().map(|(begun, _)| *begun).min();
        let ended = times.iter().map(|(_, ended)| *ended).max();
        let (begun, ended) = begun.zip(ended).context("no workers")?;
        Ok((ended - begun).as_secs_f64())
    })
}
