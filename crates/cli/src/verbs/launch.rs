//! From a sandbox to a running container: in the foreground with the caller's terminal, or left behind.

use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use anyhow::Context;
use cenote_sandbox::{Host, Outcome, Sandbox, Stdio, monitor};

use crate::terminal::raw::RawMode;
use crate::terminal::relay::Relay;

/// What has to be put back when the process has ended: first the terminal, then the signals.
pub struct Guards {
    _raw: Option<RawMode>,
    _relay: Relay,
}

/// Attaches this process's streams to one in the container: `stdin` if that reads it, `terminal` if it has one, which
/// then follows the caller's. A terminal that the process does not read keeps its mode.
pub fn attach(stdin: bool, terminal: bool) -> anyhow::Result<(Stdio, Guards)> {
    let window = match terminal {
        true => crate::terminal::of_caller().map(copy).transpose()?,
        false => None,
    };
    let (relay, controls) = Relay::start(window).context("cannot catch signals")?;
    let raw = match terminal && stdin {
        true => RawMode::enter(rustix::stdio::stdin()).context("cannot set the terminal")?,
        false => None,
    };
    let stdio = Stdio {
        stdin: stdin.then(|| copy(rustix::stdio::stdin())).transpose()?,
        stdout: copy(rustix::stdio::stdout())?,
        stderr: copy(rustix::stdio::stderr())?,
        controls,
    };
    Ok((
        stdio,
        Guards {
            _raw: raw,
            _relay: relay,
        },
    ))
}

fn copy(end: impl AsFd) -> anyhow::Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(end, 3).context("cannot use standard input and output")
}

/// Runs the sandbox to its end; this process is its monitor.
pub fn foreground(sandbox: &Sandbox, host: &Host, stdin: bool) -> anyhow::Result<Outcome> {
    let terminal = sandbox.spec().process.terminal.is_some();
    let (stdio, guards) = attach(stdin, terminal)?;
    let outcome = monitor::run(sandbox, host, Some(stdio), || ());
    drop(guards);
    Ok(outcome?)
}

/// Starts the sandbox with a monitor that outlives this process.
pub fn detached(sandbox: &Sandbox) -> anyhow::Result<()> {
    // This very file, also when it was replaced or removed meanwhile.
    let mut monitor = Command::new("/proc/self/exe");
    monitor.arg("monitor").arg(sandbox.id());
    Ok(sandbox.start_detached(monitor)?)
}
