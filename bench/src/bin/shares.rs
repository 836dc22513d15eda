//! What does the file server cost many workers with many small files, by number of its threads, beside the host itself?
//!
//! The directory is mounted natively, from `/dev/fuse` or with a local stream between it and the server as there is between a
//! guest and its host, so this is the server and the messages alone: no virtual machine.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::{Series, each_in_turn};
use cenote_bench::small_files::SmallFiles;
use cenote_fuse::device::{Session, attach};
use cenote_fuse::passthrough::{Config, Passthrough};
use cenote_fuse::server::Server;
use cenote_fuse::stream::{Relay, Service};
use clap::Parser;
use rustix::mount::{MountFlags, UnmountFlags};

/// Measures small files through the file server, mounted on the host
#[derive(Debug, Parser)]
struct Shares {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    #[command(flatten)]
    files: SmallFiles,
    /// Folders to share: one on a disk, one in memory
    #[arg(long = "in", default_values = ["target/bench", "/dev/shm"], value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    #[command(flatten)]
    flags: Flags,
}

/// The sides.
const SIDES: [Way; 8] = [
    Way::Host,
    Way::Device { threads: 1 },
    Way::Device { threads: 64 },
    Way::streams(1, 1),
    Way::streams(1, 4),
    Way::streams(1, 16),
    Way::streams(1, 64),
    Way::streams(4, 16),
];
/// The side that is judged: 64 threads on one stream.
const JUDGED: usize = 6;
/// What it may cost, as times what the host itself takes.
const WRITE_AIM: f64 = 1.05;
const READ_AIM: f64 = 2.5;

/// How the workers get at the files.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Without the server.
    Host,
    /// The server's threads read `/dev/fuse`.
    Device { threads: usize },
    /// So many streams, and so many threads for each.
    Streams { streams: usize, threads: usize },
}

impl Way {
    const fn streams(streams: usize, threads: usize) -> Way {
        Way::Streams { streams, threads }
    }

    fn name(self) -> String {
        match self {
            Way::Host => "host".to_owned(),
            Way::Device { threads } => format!("/dev/fuse, {threads}"),
            Way::Streams {
                streams: 1,
                threads,
            } => format!("stream, {threads}"),
            Way::Streams { streams, threads } => format!("{streams} streams, {threads} each"),
        }
    }
}

/// What keeps a directory mounted.
enum Mounted {
    Device {
        _session: Session,
    },
    Streams {
        point: PathBuf,
        relay: Option<Relay>,
        _service: Service,
    },
}

impl Mounted {
    fn new(shared: &Path, point: &Path, way: Way) -> anyhow::Result<Option<Mounted>> {
        let directory = Passthrough::new(shared, Config::default())?;
        let server = Arc::new(Server::new(directory));
        let (count, threads) = match way {
            Way::Host => return Ok(None),
            Way::Device { threads } => {
                let session = Session::mount(server, point, threads)?;
                return Ok(Some(Mounted::Device { _session: session }));
            }
            Way::Streams { streams, threads } => (streams, threads),
        };
        let mut service = Service::new(server, threads);
        let mut streams = Vec::new();
        for _ in 0..count {
            let (ours, theirs) = UnixStream::pair()?;
            service.add(ours.into())?;
            streams.push(theirs.into());
        }
        let device = attach(point, MountFlags::empty())?;
        Ok(Some(Mounted::Streams {
            point: point.to_owned(),
            relay: Some(Relay::start(device, streams)?),
            _service: service,
        }))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Mounted::Streams { point, relay, .. } = self {
            // While it is served; the relay ends with it.
            if rustix::mount::unmount(&*point, UnmountFlags::empty()).is_err() {
                eprintln!("{}: cannot unmount", point.display());
            }
            drop(relay.take());
        }
    }
}

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
    report.condition("files", bench.files.condition());
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
    let given = each_in_turn(bench.rounds, &SIDES, |way| {
        run(bench.files, &shared, &point, *way)
    })?;
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
        for (number, (way, times)) in SIDES.iter().zip(&series).enumerate() {
            let name = format!("{}: {what}, {}", folder.display(), way.name());
            report.figure(&name, "ms", times);
            let ratio = times.ratio(&series[0]);
            if number == JUDGED {
                let median = report.figure(&format!("{name} / host"), "", &ratio);
                if let Some(aim) = aim {
                    report.aim(&format!("{name} / host"), Side::AtMost, aim, median);
                }
            }
        }
    }
    Ok(())
}

fn run(files: SmallFiles, shared: &Path, point: &Path, way: Way) -> anyhow::Result<Run> {
    let mount = || Mounted::new(shared, point, way);
    let session = mount()?;
    let place = if session.is_some() { point } else { shared };
    let write = files.write(place)?;
    drop(session);
    // A client that knows nothing of the files.
    let session = mount()?;
    let (first_read, second_read) = (files.read(place)?, files.read(place)?);
    drop(session);
    files.remove(shared)?;
    Ok(Run {
        write,
        first_read,
        second_read,
    })
}
