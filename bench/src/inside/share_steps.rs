//! The only program of the guest that `share_server` measures: as process 1 it mounts shares and does on them what is asked
//! for on the console, one line each, and answers each line.
//!
//! `mount TAG` mounts a share at `/TAG`. `step PLACE NAME THREADS COUNT` does a step COUNT times in each thread and answers
//! the seconds that it took. `fio ARGUMENT...` runs `/fio` and answers what it printed.

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::mount::MountFlags;

/// Longer than a server's client believes names and attributes by default, so that each step begins with the same knowledge.
const FORGOTTEN: Duration = Duration::from_millis(1100);
/// Files in the folder that `readdir` lists.
const LISTED: usize = 100;

fn main() -> ExitCode {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        eprintln!("this is the first process of a guest that `share_server` measures");
        return ExitCode::FAILURE;
    }
    if let Err(error) = serve() {
        println!("failed {error:#}");
    }
    // What the host has not read of the console by now it does not want.
    let _ = rustix::system::reboot(rustix::system::RebootCommand::PowerOff);
    ExitCode::FAILURE
}

fn serve() -> anyhow::Result<()> {
    for (kind, at) in [("proc", "/proc"), ("devtmpfs", "/dev"), ("tmpfs", "/tmp")] {
        mount(kind, kind, at)?;
    }
    println!("ready");
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["mount", tag] => {
                mount("virtiofs", tag, &format!("/{tag}"))?;
                println!("done");
            }
            ["step", place, name, threads, count] => {
                let seconds = steps(Path::new(place), name, threads.parse()?, count.parse()?)
                    .with_context(|| line.clone())?;
                println!("done {seconds}");
            }
            ["fio", ref arguments @ ..] => {
                let output = Command::new("/fio")
                    .args(arguments)
                    .stdin(Stdio::null())
                    .output()
                    .context("/fio")?;
                let text = String::from_utf8_lossy(&output.stdout);
                ensure!(output.status.success(), "fio: {text}");
                println!("done {}", text.trim());
            }
            ["end"] => return Ok(()),
            _ => bail!("{line} is no command"),
        }
        io::stdout().flush()?;
    }
    Ok(())
}

fn mount(kind: &str, source: &str, at: &str) -> anyhow::Result<()> {
    fs::create_dir_all(at)?;
    rustix::mount::mount(source, at, kind, MountFlags::empty(), None)
        .with_context(|| format!("cannot mount {source} at {at}"))
}

/// What one thread does the `number`th time in its folder.
type Step = fn(&Path, usize) -> io::Result<()>;

/// Does a step in `threads` threads, each in a folder of its own; the seconds from the first to the last.
fn steps(place: &Path, name: &str, threads: usize, count: usize) -> anyhow::Result<f64> {
    let step: Step = match name {
        "prepare" => |at, number| {
            if number == 0 {
                fs::create_dir_all(at.join("listed"))?;
                for file in 0..LISTED {
                    File::create(at.join("listed").join(file.to_string()))?;
                }
            }
            Ok(())
        },
        "create" => |at, number| File::create_new(at.join(number.to_string())).map(|_| ()),
        "stat" => |at, number| stat(&at.join(number.to_string())),
        "miss" => |at, number| match fs::symlink_metadata(at.join(format!("none-{number}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            _ => Err(io::ErrorKind::AlreadyExists.into()),
        },
        "open" => |at, number| File::open(at.join(number.to_string())).map(|_| ()),
        "readdir" => |at, _| {
            let found = fs::read_dir(at.join("listed"))?.count();
            if found == LISTED {
                Ok(())
            } else {
                Err(io::ErrorKind::InvalidData.into())
            }
        },
        "rename" => |at, number| {
            fs::rename(
                at.join(number.to_string()),
                at.join(format!("renamed-{number}")),
            )
        },
        "unlink" => |at, number| fs::remove_file(at.join(format!("renamed-{number}"))),
        _ => bail!("there is no such step"),
    };
    let folders: Vec<PathBuf> = (0..threads)
        .map(|thread| place.join(format!("{threads}-{thread}")))
        .collect();
    for folder in &folders {
        fs::create_dir_all(folder)?;
    }
    if name != "prepare" {
        thread::sleep(FORGOTTEN);
    }
    let start = Barrier::new(threads + 1);
    thread::scope(|scope| {
        let workers: Vec<_> = folders
            .iter()
            .map(|folder| {
                let start = &start;
                scope.spawn(move || {
                    start.wait();
                    (0..count).try_for_each(|number| step(folder, number))
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        for worker in workers {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(begun.elapsed().as_secs_f64())
    })
}

/// Asks the server, whatever the kernel remembers.
fn stat(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    let file = rustix::fs::open(&path, OFlags::PATH, Mode::empty())?;
    rustix::fs::statx(
        &file,
        c"",
        AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC,
        StatxFlags::BASIC_STATS,
    )?;
    Ok(())
}
