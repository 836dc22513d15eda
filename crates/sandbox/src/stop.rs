//! Ending a running sandbox from another process.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::control::{self, Request};
use crate::sandbox::{Error, Sandbox};
use crate::state::State;
use crate::store::io_error;

/// A container that was killed, and its machine, are gone within this time, or the monitor is ended.
const KILL_LIMIT: Duration = Duration::from_secs(10);

impl Sandbox {
    /// Sends the container's main process a signal. One that is paused gets it when it goes on, which SIGKILL sees to.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or the socket's failure.
    pub fn kill(&self, signal: u8) -> Result<(), Error> {
        self.ask(Request::Signal(signal)).map(drop)
    }

    /// Asks the container to end, by its stop signal, for which a paused one goes on; after `patience` it is killed, and if that does not help, its
    /// machine. Returns when nothing of it runs any more. One that does not run is left as it is.
    ///
    /// # Errors
    /// The operating system's.
    pub fn stop(&self, patience: Duration) -> Result<(), Error> {
        if matches!(self.state(), State::Paused { .. }) {
            // Should the machine not obey, it is ended below.
            let _ = self.unpause();
        }
        let signal = u8::try_from(self.spec().stop_signal).unwrap_or(Signal::TERM.as_raw() as u8);
        for (signal, patience) in [
            (signal, patience),
            (Signal::KILL.as_raw() as u8, KILL_LIMIT),
        ] {
            match self.kill(signal) {
                Err(Error::NotRunning { .. }) => break,
                other => other?,
            }
            if self.ended_within(patience)? {
                return Ok(());
            }
        }
        self.kill_machine()
    }

    /// Ends the monitor, and the machine with it, at once.
    ///
    /// # Errors
    /// The operating system's.
    pub fn kill_machine(&self) -> Result<(), Error> {
        let monitor = self.monitor();
        let mut helpers = Vec::new();
        // Should the number have been given to another process meanwhile, the lock would be free.
        if let (Some((pid, monitor)), true) = (monitor, self.state().is_active()) {
            helpers = children(pid);
            // It may have ended by itself.
            let _ = rustix::process::pidfd_send_signal(&monitor, Signal::KILL);
        }
        self.wait()?;
        // They are killed by the monitor's death, and a moment after it: until then they hold published ports.
        for helper in helpers {
            self.ended(&helper, KILL_LIMIT)?;
        }
        Ok(())
    }

    /// The monitor's process, if one is at work: the peer of its socket, or, before that is there, the one that the
    /// state names.
    fn monitor(&self) -> Option<(Pid, OwnedFd)> {
        let pid = control::peer(&self.control_socket())
            .ok()
            .or_else(|| Pid::from_raw(self.state().monitor()?))?;
        let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
        Some((pid, process))
    }

    pub(crate) fn not_running(&self) -> Error {
        Error::NotRunning {
            name: self.spec().name.clone(),
            state: self.state().word(),
        }
    }

    /// Waits for the monitor's end, but no longer than `patience`.
    fn ended_within(&self, patience: Duration) -> Result<bool, Error> {
        match self.monitor() {
            Some((_, monitor)) => self.ended(&monitor, patience),
            None => Ok(true),
        }
    }

    /// Waits for the end of a process of this sandbox, but no longer than `patience`.
    fn ended(&self, process: &OwnedFd, patience: Duration) -> Result<bool, Error> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            match rustix::event::poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(io_error(self.control_socket())(error.into()).into()),
                Ok(ready) => return Ok(ready > 0),
            }
        }
    }
}

/// The processes that `parent` has started: QEMU, passt.
fn children(parent: Pid) -> Vec<OwnedFd> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            let process = rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok()?;
            // Looked at after it was opened: so it is the one that is held. See proc_pid_stat(5): the name in
            // parentheses may contain anything, behind it stand the state and the parent.
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent_of = stat.rsplit_once(')')?.1.split_whitespace().nth(1)?;
            (parent_of == parent.to_string()).then_some(process)
        })
        .collect()
}

#[cfg(test)]
#[path = "stop_test.rs"]
mod tests;
