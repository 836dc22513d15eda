//! Another process in a running sandbox.

use std::io;

use cenote_protocol::{ExecRequest, Exited};

use crate::log::Stream;
use crate::sandbox::{Error, Sandbox};
use crate::session::{self, Output, Session, Stdio, write_all};
use crate::state::State;

impl Sandbox {
    /// Runs a process beside the container's first one, or in the machine itself, with the caller's streams; answers
    /// its exit code. A detached process has no streams and is not waited for.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Paused`]; [`session::Error::Refused`] when the process cannot start, whose
    /// [`cenote_protocol::Refusal::exit_code`] tells podman's number.
    pub fn exec(&self, request: &ExecRequest, stdio: Stdio) -> Result<u8, Error> {
        self.check_running()?;
        let session = Session::start(&self.vsock(), request)?;
        if request.detach {
            return Ok(0);
        }
        let _feeder = stdio
            .stdin
            .map(|stdin| session.input().feed(stdin))
            .transpose()
            .map_err(session::Error::from)?;
        let (input, controls) = (session.input(), stdio.controls);
        std::thread::spawn(move || {
            for control in controls {
                if input.control(control).is_err() {
                    break;
                }
            }
        });
        let mut terminal = Terminal {
            stdout: stdio.stdout,
            stderr: stdio.stderr,
        };
        Ok(session.run(&mut terminal).map(Exited::exit_code)?)
    }
}

impl Sandbox {
    /// Whether its guest can be called.
    pub(crate) fn check_running(&self) -> Result<(), Error> {
        let name = || self.spec().name.clone();
        match self.state() {
            State::Running { .. } => Ok(()),
            State::Paused { .. } => Err(Error::Paused { name: name() }),
            state => Err(Error::NotRunning {
                name: name(),
                state: state.word(),
            }),
        }
    }
}

/// The caller's two outputs.
struct Terminal {
    stdout: std::os::fd::OwnedFd,
    stderr: std::os::fd::OwnedFd,
}

impl Output for Terminal {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match stream {
            Stream::Stdout => write_all(&self.stdout, bytes),
            Stream::Stderr => write_all(&self.stderr, bytes),
        }
    }
}
