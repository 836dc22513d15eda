//! Letting a sandbox stand still, from another process.

use std::os::unix::net::UnixStream;

use crate::control::{self, Answer, Request};
use crate::sandbox::{Error, Sandbox};
use crate::state::State;
use crate::store::io_error;

impl Sandbox {
    /// Stops the machine's processors where they are. Its memory stays, and so do its connections, whose other ends
    /// wait. Its clock stands still meanwhile.
    ///
    /// # Errors
    /// [`Error::NotRunning`], [`Error::Paused`], [`Error::Disobedient`], or the socket's failure.
    pub fn pause(&self) -> Result<(), Error> {
        match self.state() {
            State::Running { .. } => self.ask(Request::Pause).map(drop),
            State::Paused { .. } => Err(Error::Paused {
                name: self.spec().name.clone(),
            }),
            _ => Err(self.not_running()),
        }
    }

    /// Lets a paused machine go on.
    ///
    /// # Errors
    /// [`Error::NotPaused`], [`Error::Disobedient`], or the socket's failure.
    pub fn unpause(&self) -> Result<(), Error> {
        match self.state() {
            State::Paused { .. } => self.ask(Request::Resume).map(drop),
            state => Err(Error::NotPaused {
                name: self.spec().name.clone(),
                state: state.word(),
            }),
        }
    }

    /// Has the monitor do something. What it tells is to be read from the connection.
    pub(crate) fn ask(&self, request: Request) -> Result<UnixStream, Error> {
        match control::request(&self.control_socket(), request) {
            Ok((Answer::Done, monitor)) => Ok(monitor),
            Ok((Answer::NotRunning, _)) => Err(self.not_running()),
            Ok((Answer::Failed, _)) => Err(Error::Disobedient {
                name: self.spec().name.clone(),
            }),
            Err(error) if control::is_gone(&error) => Err(self.not_running()),
            Err(error) => Err(io_error(self.control_socket())(error).into()),
        }
    }
}
