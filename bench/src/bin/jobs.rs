//! How long do whole jobs take on a share, beside the guest's own disk?
//!
//! Unpacking, `git status`, installing Python packages from files and compiling, in one container of a Debian system,
//! with default flags, in turn on the share and on the container's root. The guest itself takes the time, so that
//! starting a process in it costs neither side.

use std::env;
use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use cenote_bench::host::{Host, Sleeper};
use cenote_bench::report::{self, Flags, Report};
use cenote_bench::series::{self, Series};
use clap::Parser;

/// Measures whole jobs on a share beside the guest's own disk
#[derive(Debug, Parser)]
struct Jobs {
    /// How often each side runs
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// A Debian system with git, cargo and python3-venv, as a tar; of `CENOTE_TEST_DATA` unless given
    #[arg(long)]
    system: Option<PathBuf>,
    /// More flags for `cenote run`
    #[arg(long, allow_hyphen_values = true, value_delimiter = ' ')]
    run: Vec<String>,
    #[command(flatten)]
    flags: Flags,
}

/// How much longer than on the guest's own disk a job may take on a share.
const AIM: f64 = 1.2;

/// A job, in a fresh folder.
struct Job {
    name: &'static str,
    /// What is done first, untimed.
    before: &'static str,
    /// Whether the guest then forgets all that it has read.
    cold: bool,
    /// The job.
    timed: &'static str,
}

const JOBS: [Job; 5] = [
    Job {
        name: "unpack 2,000 files",
        before: "",
        cold: false,
        timed: "tar -xf /tmp/tree.tar",
    },
    Job {
        name: "git status, cold",
        before: "tar -xf /tmp/repository.tar; git status",
        cold: true,
        timed: "git status --porcelain",
    },
    Job {
        name: "git status, again",
        before: "tar -xf /tmp/repository.tar; git status",
        cold: false,
        timed: "git status --porcelain",
    },
    Job {
        name: "pip install from wheels",
        before: "python3 -m venv --without-pip venv",
        cold: false,
        timed: "python3 -m pip --python venv/bin/python install --quiet --no-index \
                --find-links /usr/share/python-wheels pip setuptools",
    },
    Job {
        name: "cargo build",
        before: "cp -r /tmp/crate/* .",
        cold: false,
        timed: "cargo build --quiet --offline",
    },
];

/// Makes the materials on the container's own disk.
const PREPARE: &str = r#"
    set -e
    mkdir /tmp/tree && cd /tmp/tree
    for folder in $(seq 100); do
        mkdir $folder
        for file in $(seq 20); do head -c $((file * 900)) /usr/bin/git >$folder/$file; done
    done
    tar -cf /tmp/tree.tar .
    git init --quiet . && git add .
    git -c user.name=bench -c user.email=bench@localhost commit --quiet --message all
    tar -cf /tmp/repository.tar .
    mkdir -p /tmp/crate/src && cd /tmp/crate
    printf '[package]\nname = "small"\nversion = "0.1.0"\nedition = "2021"\n' >Cargo.toml
    for module in $(seq 20); do
        echo "mod m$module;" >>src/main.rs
        for item in $(seq 30); do
            echo "pub fn f$item(x: u64) -> String { format!(\"{}\", x.wrapping_mul($item)) }"
        done >src/m$module.rs
    done
    printf 'fn main() {\n' >>src/main.rs
    for module in $(seq 20); do echo "    println!(\"{}\", m$module::f1($module));" >>src/main.rs; done
    echo '}' >>src/main.rs
    git config --global --add safe.directory '*'
    mkdir /own
"#;

fn main() -> anyhow::Result<()> {
    let bench = Jobs::parse();
    let mut report = Report::new(
        "jobs",
        "How long do whole jobs take on a share, beside the guest's own disk?",
    );
    let system = match &bench.system {
        Some(path) => path.clone(),
        None => PathBuf::from(env::var_os("CENOTE_TEST_DATA").context("no --system")?)
            .join("developer.tar"),
    };
    let host = Host::new()?;
    report.condition("kernel and tools", host.versions()?);
    report.condition("flags of run", bench.run.join(" "));
    host.run(&[
        "import",
        system.to_str().context("an odd path")?,
        "developer",
    ])?;
    let share = host.scratch().join("share");
    fs::create_dir(&share)?;
    let volume = format!("{}:/share", share.display());
    let mut flags = vec!["--cpus", "2", "--memory", "2g", "-v", &volume];
    flags.extend(bench.run.iter().map(String::as_str));
    let sleeper = host.sleeper("jobs", &flags, "developer")?;
    sleeper.shell(PREPARE)?;
    for job in JOBS {
        let name = job.name;
        let times = series::each_in_turn(bench.rounds, &["/share", "/own"], |place| {
            run(&sleeper, place, &job)
        })?;
        let [share, own] = times
            .try_into()
            .map(|sides: [_; 2]| sides.map(Series::new))
            .expect("two sides");
        report.figure(&format!("{name}: share"), "s", &share);
        report.figure(&format!("{name}: own disk"), "s", &own);
        let ratio = report.figure(&format!("{name}: ratio"), "", &share.ratio(&own));
        report.aim(name, report::Side::AtMost, AIM, ratio);
    }
    report.publish(&bench.flags)
}

/// Seconds that a job takes in a fresh folder in `place`.
fn run(sleeper: &Sleeper<'_>, place: &str, job: &Job) -> anyhow::Result<f64> {
    let Job { before, timed, .. } = job;
    sleeper.shell(&format!(
        "set -e; rm -rf {place}/job; mkdir {place}/job; cd {place}/job
         {before}
         sync"
    ))?;
    if job.cold {
        sleeper.vm("echo 3 >/proc/sys/vm/drop_caches")?;
    }
    let nanoseconds = sleeper.shell(&format!(
        "set -e; cd {place}/job
         date >/dev/null
         begun=$(date +%s%N)
         {timed} >/dev/null
         ended=$(date +%s%N)
         echo $((ended - begun))"
    ))?;
    Ok(nanoseconds.trim().parse::<f64>()? / 1e9)
}
