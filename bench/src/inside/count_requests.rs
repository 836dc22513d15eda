//! Runs in the lab: a machine whose first program is `requests_guest`, and prints as JSON how often the guest was left
//! in each of its phases.
//!
//!   count_requests KERNEL INITRAMFS [QEMU ARGUMENT...]
//!
//! Without QEMU the machine is ours. QEMU's command finds the disk at /tmp/disk, the file for a pmem at /tmp/pmem, and the
//! other end of the network at the socket /tmp/net.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, ensure};
use cenote_bench::requests::{
    END, ETHER_TYPE, INTERRUPTS, MARKS, PHASES, Phase, REQUESTS, VSOCK_PORT,
};
use cenote_virtio::block::{Block, BlockSpec};
use cenote_virtio::console::{Console, ConsoleSpec};
use cenote_virtio::device::Device;
use cenote_virtio::net::{Net, NetSpec};
use cenote_virtio::vsock::{Vsock, VsockSpec};
use cenote_vmm::{PmemFile, PmemSpec, Vm, VmSpec};

const TRACING: &str = "/sys/kernel/tracing";
/// Kilobytes of the trace buffer of each CPU: more than a boot and all phases fill.
const BUFFER: &str = "65536";
/// The events that are recorded.
const EVENTS: [&str; 4] = ["kvm_exit", "kvm_userspace_exit", "kvm_msr", "kvm_cpuid"];
const DISK: &str = "/tmp/disk";
const PMEM: &str = "/tmp/pmem";
const NET: &str = "/tmp/net";
const VSOCK: &str = "/tmp/vsock";
/// What the kernel is told in each machine.
const PARAMETERS: &str = "quiet loglevel=3 panic=-1 no_timer_check cryptomgr.notests";
/// The longest frame that is sent back.
const FRAME: usize = 2048;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let mut next = |what: &str| {
        arguments
            .next()
            .with_context(|| format!("{what} is missing"))
    };
    let (kernel, initramfs) = (next("KERNEL")?, next("INITRAMFS")?);
    let qemu: Vec<String> = arguments.collect();
    for (path, size) in [(DISK, 16 << 20), (PMEM, 2 << 20)] {
        fs::write(path, vec![0; size])?;
    }
    trace("tracing_on", "0")?;
    trace("trace", "")?;
    trace("buffer_size_kb", BUFFER)?;
    for event in EVENTS {
        trace(&format!("events/kvm/{event}/enable"), "1")?;
    }
    trace("tracing_on", "1")?;
    let ended = match qemu.split_first() {
        None => ours(&kernel, &initramfs),
        Some((program, arguments)) => peer(program, arguments),
    };
    trace("tracing_on", "0")?;
    for event in EVENTS {
        trace(&format!("events/kvm/{event}/enable"), "0")?;
    }
    ended?;
    let phases = phases(BufReader::new(File::open(format!("{TRACING}/trace"))?))?;
    trace("trace", "")?;
    println!("{}", serde_json::to_string(&phases)?);
    Ok(())
}

fn trace(file: &str, value: &str) -> anyhow::Result<()> {
    let path = format!("{TRACING}/{file}");
    fs::write(&path, value).with_context(|| format!("cannot write {value:?} to {path}"))
}

/// Runs our machine until it ends.
fn ours(kernel: &str, initramfs: &str) -> anyhow::Result<()> {
    let path = format!("{VSOCK}_{VSOCK_PORT}");
    let _ = fs::remove_file(&path);
    let listener = UnixListener::bind(&path)?;
    thread::spawn(move || -> std::io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        let mut byte = [0];
        while stream.read(&mut byte)? != 0 {
            stream.write_all(&byte)?;
        }
        Ok(())
    });
    let (stream, other) = UnixStream::pair()?;
    thread::spawn(move || echo(other));
    let devices: [Box<dyn Device>; 4] = [
        Box::new(Vsock::new(&VsockSpec {
            guest_cid: 3,
            socket: VSOCK.into(),
        })?),
        Box::new(Console::new(ConsoleSpec {
            output: File::options().write(true).open("/dev/null")?.into(),
            input: None,
        })?),
        Box::new(Block::new(&BlockSpec {
            path: DISK.into(),
            read_only: false,
            ephemeral: false,
            queues: 1,
            id: "disk".to_owned(),
        })?),
        Box::new(Net::new(NetSpec {
            stream: stream.into(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu: 1500,
        })?),
    ];
    let vm = Vm::start(VmSpec {
        cpus: 1,
        memory: 512 << 20,
        kernel: File::open(kernel)?,
        initramfs: Some(File::open(initramfs)?),
        command_line: format!("{PARAMETERS} pci=off 8250.nr_uarts=0 reboot=acpi"),
        pmem: vec![PmemSpec {
            files: vec![PmemFile {
                file: File::options().read(true).write(true).open(PMEM)?,
                name: PMEM.to_owned(),
            }],
            writable: true,
        }],
        devices: devices.into(),
        serial: None,
        nested: false,
    })?;
    let end = vm.wait();
    ensure!(end == cenote_vmm::Exit::Reset, "the machine ended: {end:?}");
    Ok(())
}

/// Runs QEMU until its guest resets.
fn peer(program: &str, arguments: &[String]) -> anyhow::Result<()> {
    let _ = fs::remove_file(NET);
    let listener = UnixListener::bind(NET)?;
    thread::spawn(move || -> std::io::Result<()> { echo(listener.accept()?.0) });
    let status = Command::new(program)
        .args(arguments)
        .args(["-append", &format!("{PARAMETERS} reboot=t")])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()?;
    ensure!(status.success(), "QEMU failed ({status})");
    Ok(())
}

/// Sends the guest's frames of the measured kind back; each follows its length.
fn echo(mut stream: UnixStream) -> std::io::Result<()> {
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let size = (u32::from_be_bytes(length) as usize).min(FRAME);
        let mut message = [0; 4 + FRAME];
        message[..4].copy_from_slice(&length);
        let message = &mut message[..4 + size];
        stream.read_exact(&mut message[4..])?;
        if message.get(16..18) == Some(&ETHER_TYPE) {
            stream.write_all(message)?;
        }
    }
}

/// What the trace says of each phase that has both of its marks.
fn phases(trace: impl BufRead) -> anyhow::Result<BTreeMap<&'static str, Phase>> {
    let mut phases = BTreeMap::new();
    let mut now: Option<(usize, f64, Phase)> = None;
    let mut last = None;
    for line in trace.lines() {
        let line = line?;
        let Some((before, event)) = line.split_once(": kvm_") else {
            ensure!(!line.contains("LOST"), "the trace buffer is too small");
            continue;
        };
        let time = before
            .split_whitespace()
            .last()
            .and_then(|time| time.parse().ok());
        let time: f64 = time.with_context(|| format!("no time in {line:?}"))?;
        let words: Vec<&str> = event.split_whitespace().collect();
        let after = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1).copied()
        };
        match words[0] {
            "exit:" => add(&mut now, |phase| &mut phase.exits, after("reason")),
            "userspace_exit:" => add(&mut now, |phase| &mut phase.user, after("reason")),
            "msr:" => add(&mut now, |phase| &mut phase.registers, after("msr_write")),
            "cpuid:" => {
                let leaf = after("func").and_then(number);
                let value = after("idx").and_then(number).unwrap_or_default();
                if leaf == Some(MARKS) && value < END {
                    now = Some((value as usize, time, Phase::default()));
                } else if leaf == Some(MARKS)
                    && let Some((index, begun, mut phase)) = now.take()
                {
                    phase.seconds = time - begun;
                    phase.requests = if index == 0 { 1 } else { REQUESTS };
                    last = PHASES.get(index).copied();
                    phases.extend(last.map(|name| (name, phase)));
                } else if leaf == Some(INTERRUPTS)
                    && let Some(phase) = last.and_then(|name| phases.get_mut(name))
                {
                    phase.interrupts = value;
                }
            }
            _ => {}
        }
    }
    Ok(phases)
}

fn add(
    now: &mut Option<(usize, f64, Phase)>,
    counts: impl Fn(&mut Phase) -> &mut BTreeMap<String, u32>,
    reason: Option<&str>,
) {
    if let (Some((_, _, phase)), Some(reason)) = (now, reason) {
        *counts(phase).entry(reason.to_owned()).or_default() += 1;
    }
}

fn number(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}
