//! Runs in the lab: starts a virtual machine's program, stops the clock and the counters at its guest's first message, and
//! prints both as JSON.
//!
//!   count_exits MESSAGE COMMAND [ARGUMENT]...

mod exits;

use std::env;
use std::fs;
use std::io::{self, PipeReader, Read};
use std::process::{Child, Command, Stdio};
use std::ptr;
use std::time::Instant;

use anyhow::{Context, bail};
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use exits::Counters;

/// So much free memory is overwritten: twice a machine's, and what its program takes.
const OVERWRITTEN: usize = 1 << 30;
/// What is left free when the rest is overwritten, for all that the lab does meanwhile.
const LEFT_FREE: usize = 256 << 20;
/// Where this program mounts procfs, since a container's own is read-only there.
const PROC: &str = "/tmp/proc";
/// A program that says more than this without the message will not say it.
const TALK_LIMIT: usize = 1 << 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let message = arguments.next().context("the MESSAGE is missing")?;
    let program = arguments.next().context("the COMMAND is missing")?;
    let (mut output, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(writer.try_clone()?)
        .stderr(writer);

    free_memory()?;
    let counters = Counters::start()?;
    let begun = Instant::now();
    let mut child = command.spawn()?;
    drop(command);
    let said = until(&mut output, &message);
    let seconds = begun.elapsed().as_secs_f64();
    let counts = stopped(&child).and_then(|()| counters.read());
    end(&mut child, &mut output)?;
    said?;
    let [exits, user] = counts?;
    println!(
        "{}",
        json!({"seconds": seconds, "exits": exits, "user": user})
    );
    Ok(())
}

/// Gives each run the same free memory: overwritten. An emulated processor keeps its translation of
/// code that has run until that memory is written to, and then throws it away piece by piece, which takes a new machine in
/// the memory of an earlier one a second or two.
fn free_memory() -> anyhow::Result<()> {
    if fs::create_dir(PROC).is_ok() {
        mount("proc", PROC, "proc", MountFlags::empty(), None).context("cannot mount procfs")?;
    }
    let drop_caches = format!("{PROC}/sys/vm/drop_caches");
    fs::write(&drop_caches, "3").with_context(|| format!("cannot write {drop_caches}"))?;
    let told = fs::read_to_string(format!("{PROC}/meminfo"))?;
    let free = told
        .lines()
        .find_map(|line| line.strip_prefix("MemFree:")?.strip_suffix("kB"))
        .and_then(|number| number.trim().parse::<usize>().ok())
        .context("/proc/meminfo does not say what is free")?;
    let size = (free << 10).saturating_sub(LEFT_FREE).min(OVERWRITTEN);
    let access = ProtFlags::READ | ProtFlags::WRITE;
    let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
    // SAFETY: a new mapping at an address of the kernel's choice, which has zeroed its pages by now, is unmapped unused.
    unsafe {
        let memory = mmap_anonymous(ptr::null_mut(), size, access, flags)
            .context("cannot take the free memory")?;
        munmap(memory, size)?;
    }
    Ok(())
}

/// Reads until `message` has come.
fn until(output: &mut PipeReader, message: &str) -> anyhow::Result<()> {
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    while said.len() < TALK_LIMIT {
        let length = output.read(&mut piece)?;
        said.extend_from_slice(&piece[..length]);
        let found = said
            .windows(message.len())
            .any(|part| part == message.as_bytes());
        if found {
            return Ok(());
        }
        if length == 0 {
            break;
        }
    }
    bail!(
        "the program did not say {message:?}, but {:?}",
        String::from_utf8_lossy(&said)
    )
}

/// Stops the program, and with it its machine, so that nothing is counted any more.
fn stopped(child: &Child) -> anyhow::Result<()> {
    Ok(kill_process(Pid::from_child(child), Signal::STOP)?)
}

fn end(child: &mut Child, output: &mut PipeReader) -> anyhow::Result<()> {
    let pid = Pid::from_child(child);
    kill_process(pid, Signal::TERM)?;
    kill_process(pid, Signal::CONT)?;
    io::copy(output, &mut io::sink())?;
    child.wait()?;
    Ok(())
}
