//! A sandbox that outlives its starter: the monitor in a process of its own.
//!
//! The starter runs the monitor's command with a pipe as standard output. One line comes back: `ok`, or the exit code
//! and the reason.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::host::Host;
use crate::monitor;
use crate::sandbox::Sandbox;

/// The longest reason that is read back.
const MAX_ANSWER: u64 = 64 << 10;

/// Why a detached start failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The monitor's process could not be made.
    #[error("cannot start the monitor: {0}")]
    Spawn(#[from] io::Error),
    /// The monitor said why.
    #[error("{reason}")]
    Failed {
        /// The exit code that goes with it.
        code: u8,
        /// The reason.
        reason: String,
    },
}

impl Sandbox {
    /// Starts the sandbox by `monitor`, a command that ends in [`Sandbox::serve_detached`] for it, and returns when the
    /// container's process runs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn start_detached(&self, mut monitor: Command) -> Result<(), Error> {
        let log = File::create(self.file("monitor.log"))?;
        // SAFETY: the closure only makes one system call; it neither allocates nor locks.
        unsafe {
            // A session of its own: no terminal's hang-up or Ctrl-C reaches the monitor.
            monitor.pre_exec(|| rustix::process::setsid().map(drop).map_err(io::Error::from));
        }
        let mut child = monitor
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut answer = String::new();
        if let Some(pipe) = child.stdout.take() {
            pipe.take(MAX_ANSWER).read_to_string(&mut answer)?;
        }
        match answer.split_once(' ') {
            _ if answer == "ok\n" => Ok(()),
            Some((code, reason)) => {
                child.wait()?;
                Err(Error::Failed {
                    code: code.parse().unwrap_or(125),
                    reason: reason.trim_end().to_owned(),
                })
            }
            None => {
                let status = child.wait()?;
                Err(Error::Failed {
                    code: 125,
                    reason: format!("the monitor ended without a word ({status})"),
                })
            }
        }
    }

    /// Runs the sandbox to its end, with standard output as the pipe that [`Sandbox::start_detached`] reads.
    ///
    /// # Errors
    /// The pipe's; the sandbox's own failures go through the pipe.
    pub fn serve_detached(&self, host: &Host) -> io::Result<()> {
        let mut told = Ok(());
        let ended = monitor::run(self, host, None, || told = tell("ok\n"));
        if let Err(error) = ended {
            // Once `ok` has been said nobody reads any more, and the state file keeps the reason.
            let _ = tell(&format!("{} {error}\n", error.exit_code()));
        }
        told
    }
}

/// Says `answer` and closes standard output.
fn tell(answer: &str) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(answer.as_bytes())?;
    stdout.flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(())
}
