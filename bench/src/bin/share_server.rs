//! What does `cenote fsd` cost beside virtiofsd?
//!
//! One guest under QEMU's emulation has a share from each, and does the same steps on both in turn. A step's cost is the time
//! that the guest waits, and the processor time of the server. Of virtiofsd sandbox and system call filter are off, which
//! cost it time; both servers have their defaults otherwise.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail, ensure};
use cenote_bench::floor::Archive;
use cenote_bench::host::{Host, built_beside};
use cenote_bench::report::{Flags, Report, Side};
use cenote_bench::series::Series;
use clap::Parser;

/// Measures `cenote fsd` beside virtiofsd, under the same QEMU
#[derive(Debug, Parser)]
struct ShareServer {
    /// How often each step is done
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many files each thread does a step to
    #[arg(long, default_value_t = 300)]
    files: usize,
    /// Processors of the guest
    #[arg(long, default_value_t = 1)]
    cpus: usize,
    /// Request queues of ours; the peer has one
    #[arg(long, default_value_t = 1)]
    queues: usize,
    /// The peer (`cargo install virtiofsd`)
    #[arg(long, default_value = "virtiofsd", value_name = "PROGRAM")]
    virtiofsd: PathBuf,
    /// A statically linked fio, for the rows about data
    #[arg(long, value_name = "PROGRAM")]
    fio: Option<PathBuf>,
    /// The folder to share from
    #[arg(long = "in", default_value = "/dev/shm", value_name = "FOLDER")]
    folder: PathBuf,
    /// Only steps whose name has this in it
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
    #[command(flatten)]
    flags: Flags,
}

/// Steps in this order: each finds what the one before has left.
const STEPS: [&str; 7] = [
    "create", "stat", "miss", "open", "readdir", "rename", "unlink",
];
const THREADS: [usize; 3] = [1, 4, 8];
/// The two shares.
const SIDES: [&str; 2] = ["ours", "peer"];
/// Bytes of the file that fio works on.
const DATA: u64 = 64 << 20;

/// fio's jobs: name, arguments, bytes of one operation, bytes in all.
const JOBS: [(&str, &str, u64, u64); 8] = [
    (
        "4 KiB random read, psync",
        "--rw=randread --ioengine=psync",
        4 << 10,
        8 << 20,
    ),
    (
        "4 KiB random write, psync",
        "--rw=randwrite --ioengine=psync",
        4 << 10,
        8 << 20,
    ),
    (
        "4 KiB random read, io_uring 16",
        "--rw=randread --ioengine=io_uring --iodepth=16",
        4 << 10,
        8 << 20,
    ),
    (
        "4 KiB random write, io_uring 16",
        "--rw=randwrite --ioengine=io_uring --iodepth=16",
        4 << 10,
        8 << 20,
    ),
    (
        "1 MiB read, psync",
        "--rw=read --ioengine=psync",
        1 << 20,
        256 << 20,
    ),
    (
        "1 MiB write, psync",
        "--rw=write --ioengine=psync",
        1 << 20,
        256 << 20,
    ),
    (
        "1 MiB read, io_uring 16",
        "--rw=read --ioengine=io_uring --iodepth=16",
        1 << 20,
        256 << 20,
    ),
    (
        "1 MiB write, io_uring 16",
        "--rw=write --ioengine=io_uring --iodepth=16",
        1 << 20,
        256 << 20,
    ),
];

/// Of one step, for each operation.
#[derive(Debug, Clone, Copy)]
struct Cost {
    wall: f64,
    server: f64,
}

fn main() -> anyhow::Result<()> {
    let bench = ShareServer::parse();
    let host = Host::new()?;
    let mut report = Report::new(
        "share_server",
        "What does `cenote fsd` cost beside virtiofsd?",
    );
    report.condition(
        "files",
        format!(
            "{} for each thread, in {}",
            bench.files,
            bench.folder.display()
        ),
    );
    report.condition(
        "guest",
        format!("{} processors, emulated; {}", bench.cpus, host.versions()?),
    );
    let scratch = tempfile::tempdir_in(&bench.folder)
        .with_context(|| format!("cannot work in {}", bench.folder.display()))?;
    let servers = SIDES.map(|side| scratch.path().join(side));
    let servers = start_servers(&bench, &host, &servers)?;
    let mut guest = Guest::boot(&bench, &host, &servers)?;
    let mut least = f64::INFINITY;
    let mut slowest: f64 = 0.0;
    let mut tell = |name: &str, costs: [Vec<Cost>; 2]| {
        let series = |costs: &Vec<Cost>, pick: fn(&Cost) -> f64| {
            Series::new(costs.iter().map(pick).collect())
        };
        let wall = costs
            .each_ref()
            .map(|costs| series(costs, |cost| cost.wall));
        let server = costs
            .each_ref()
            .map(|costs| series(costs, |cost| cost.server));
        report.figure(&format!("{name}: server"), "us ours", &server[0]);
        report.figure(&format!("{name}: server"), "us virtiofsd", &server[1]);
        let gain = report.figure(
            &format!("{name}: work per server second"),
            "times",
            &server[1].ratio(&server[0]),
        );
        report.figure(&format!("{name}: wall"), "us ours", &wall[0]);
        let slower = report.figure(
            &format!("{name}: wall"),
            "of virtiofsd's",
            &wall[0].ratio(&wall[1]),
        );
        least = least.min(gain);
        slowest = slowest.max(slower);
    };
    let wanted = STEPS.iter().any(|step| step.contains(&bench.only));
    for threads in THREADS.into_iter().filter(|_| wanted) {
        let mut costs: Vec<[Vec<Cost>; 2]> = STEPS.iter().map(|_| [vec![], vec![]]).collect();
        for _ in 0..bench.rounds {
            for (step, costs) in STEPS.iter().zip(&mut costs) {
                for side in 0..2 {
                    if *step == "create" {
                        guest.ask(&format!("step /{} prepare {threads} 1", SIDES[side]))?;
                    }
                    // Listing is as much work as a dozen of the others.
                    let count = if *step == "readdir" {
                        bench.files / 10
                    } else {
                        bench.files
                    };
                    let total = count * threads;
                    let line = format!("step /{} {step} {threads} {count}", SIDES[side]);
                    costs[side].push(guest.cost(
                        &servers[side],
                        &line,
                        total as f64,
                        |answer| Ok(answer.parse::<f64>()? * 1e6),
                    )?);
                }
            }
        }
        for (step, costs) in STEPS.iter().zip(costs) {
            if step.contains(&bench.only) {
                tell(&format!("{step}, {threads} threads"), costs);
            }
        }
    }
    if bench.fio.is_some() {
        for (name, arguments, size, total) in JOBS {
            if !name.contains(&bench.only) {
                continue;
            }
            let mut costs = [vec![], vec![]];
            for _ in 0..bench.rounds {
                for side in 0..2 {
                    let line = format!(
                        "fio --name=j --minimal --direct=1 --filename=/{}/data --size={DATA} --bs={size} --io_size={total} {arguments}",
                        SIDES[side]
                    );
                    let write = arguments.contains("write");
                    costs[side].push(guest.cost(
                        &servers[side],
                        &line,
                        (total / size) as f64,
                        |answer| milliseconds(answer, write).map(|time| time * 1e3),
                    )?);
                }
            }
            tell(name, costs);
        }
    }
    guest.end()?;
    report.aim(
        "least work per server second, of virtiofsd's",
        Side::AtLeast,
        1.5,
        least,
    );
    report.aim("longest wait, of virtiofsd's", Side::AtMost, 1.0, slowest);
    report.publish(&bench.flags)
}

/// The run time of fio's job in its terse format (version 3), in which the fields of reading begin at the sixth, and those
/// of writing at the 47th.
fn milliseconds(answer: &str, write: bool) -> anyhow::Result<f64> {
    let field = if write { 49 } else { 8 };
    let value = answer.split(';').nth(field);
    Ok(value
        .with_context(|| format!("fio says {answer}"))?
        .parse()?)
}

/// A server with a directory of its own.
struct Server {
    process: Child,
    socket: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended, as it should have.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Microseconds of processor time of its threads.
    fn time(&self) -> anyhow::Result<f64> {
        let mut total = 0.0;
        for task in fs::read_dir(format!("/proc/{}/task", self.process.id()))? {
            let ran = fs::read_to_string(task?.path().join("schedstat"))?;
            let nanoseconds = ran.split(' ').next().context("an empty schedstat")?;
            total += nanoseconds.parse::<f64>()? / 1000.0;
        }
        Ok(total)
    }
}

fn start_servers(
    bench: &ShareServer,
    host: &Host,
    directories: &[PathBuf; 2],
) -> anyhow::Result<[Server; 2]> {
    let socket = |name: &str| host.scratch().join(name);
    let mut commands = [
        host.command(&["fsd", "--queues", &bench.queues.to_string()]),
        Command::new(&bench.virtiofsd),
    ];
    commands[1].args(["--sandbox=none", "--seccomp=none", "--log-level=error"]);
    let mut servers = Vec::new();
    for ((command, directory), name) in commands.iter_mut().zip(directories).zip(SIDES) {
        fs::create_dir_all(directory)?;
        let mut data = File::create(directory.join("data"))?;
        for _ in 0..DATA >> 20 {
            data.write_all(&[1; 1 << 20])?;
        }
        let socket = socket(name);
        let process = command
            .arg("--shared-dir")
            .arg(directory)
            .arg("--socket-path")
            .arg(&socket)
            .spawn()
            .with_context(|| format!("cannot run {command:?}"))?;
        servers.push(Server { process, socket });
    }
    for server in &mut servers {
        // They make their sockets when they are ready.
        while !server.socket.exists() {
            ensure!(server.process.try_wait()?.is_none(), "a server has ended");
            std::thread::yield_now();
        }
    }
    servers.try_into().ok().context("two servers")
}

/// The guest, and its console.
struct Guest {
    qemu: Child,
    console: BufReader<ChildStdout>,
    keyboard: ChildStdin,
}

impl Guest {
    fn boot(bench: &ShareServer, host: &Host, servers: &[Server; 2]) -> anyhow::Result<Self> {
        let mut archive = Archive::default();
        archive.add("init", &fs::read(built_beside("share_steps")?)?);
        if let Some(fio) = &bench.fio {
            archive.add(
                "fio",
                &fs::read(fio).with_context(|| format!("cannot read {}", fio.display()))?,
            );
        }
        let initramfs = host.scratch().join("initramfs");
        fs::write(&initramfs, archive.end())?;
        let tool = host.qemu()?;
        let kernel = host.last("kernels", |_| true)?;
        let kernel = kernel.context("there is no kernel: run `make bench`, which prepares it")?;
        let mut qemu = Command::new(tool.join("lib/ld-linux-x86-64.so.2"));
        qemu.arg("--inhibit-cache")
            .arg("--library-path")
            .arg(tool.join("lib"));
        qemu.arg(tool.join("bin/qemu-system-x86_64"))
            .arg("-L")
            .arg(tool.join("share"));
        qemu.args("-nodefaults -no-reboot -display none -machine q35,memory-backend=ram -m 1G -cpu max -accel tcg,thread=multi".split(' '));
        qemu.args([
            "-object",
            "memory-backend-memfd,id=ram,size=1G,share=on",
            "-serial",
            "stdio",
        ]);
        qemu.args([
            "-smp",
            &bench.cpus.to_string(),
            "-append",
            "console=ttyS0 quiet loglevel=3 no_timer_check mitigations=off panic=-1",
        ]);
        qemu.arg("-kernel").arg(kernel.join("vmlinux"));
        qemu.arg("-initrd").arg(initramfs);
        for (side, server) in SIDES.iter().zip(servers) {
            qemu.arg("-chardev")
                .arg(format!("socket,id={side},path={}", server.socket.display()));
            let queues = if *side == "ours" { bench.queues } else { 1 };
            qemu.arg("-device").arg(format!("vhost-user-fs-pci,chardev={side},tag={side},num-request-queues={queues},queue-size=512"));
        }
        let mut qemu = qemu
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run QEMU")?;
        let (console, keyboard) = qemu
            .stdout
            .take()
            .zip(qemu.stdin.take())
            .context("QEMU has no console")?;
        let mut guest = Self {
            qemu,
            console: BufReader::new(console),
            keyboard,
        };
        guest.answer("ready")?;
        for side in SIDES {
            guest.ask(&format!("mount {side}"))?;
        }
        Ok(guest)
    }

    /// What follows `word` on the next line that begins with it.
    fn answer(&mut self, word: &str) -> anyhow::Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            ensure!(
                self.console.read_line(&mut line)? > 0,
                "the guest has ended"
            );
            let line = line.trim();
            if line.starts_with("failed") {
                bail!("the guest {line}");
            }
            if let Some(rest) = line.strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    fn ask(&mut self, line: &str) -> anyhow::Result<String> {
        writeln!(self.keyboard, "{line}")?;
        self.answer("done")
    }

    /// What each of `count` operations costs that the guest does when it is asked by `line`; `wall` takes the microseconds
    /// out of its answer.
    fn cost(
        &mut self,
        server: &Server,
        line: &str,
        count: f64,
        wall: impl FnOnce(&str) -> anyhow::Result<f64>,
    ) -> anyhow::Result<Cost> {
        let before = server.time()?;
        let answer = self.ask(line)?;
        Ok(Cost {
            server: (server.time()? - before) / count,
            wall: wall(&answer)? / count,
        })
    }

    fn end(mut self) -> anyhow::Result<()> {
        writeln!(self.keyboard, "end")?;
        self.qemu.wait()?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // Both fail only if it has ended, as it should have.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}
