//! Raw mode for as long as a guard lives.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;
use rustix::termios::{self, OptionalActions, Termios};

/// Restores the terminal when dropped, on every way out of a scope, a panic's included. Signals that would end the
/// process are handled while it lives (see `relay`), so they do not get past it either.
#[derive(Debug)]
pub struct RawMode {
    terminal: OwnedFd,
    before: Termios,
}

impl RawMode {
    /// Makes `terminal` raw; `None` if it is no terminal, which needs nothing.
    ///
    /// # Errors
    /// The terminal cannot be set.
    pub fn enter(terminal: impl AsFd) -> Result<Option<Self>, Errno> {
        if !termios::isatty(&terminal) {
            return Ok(None);
        }
        let terminal = rustix::io::fcntl_dupfd_cloexec(&terminal, 3)?;
        let before = termios::tcgetattr(&terminal)?;
        let mut raw = before.clone();
        raw.make_raw();
        let guard = Self { terminal, before };
        termios::tcsetattr(&guard.terminal, OptionalActions::Now, &raw)?;
        Ok(Some(guard))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that is gone has no mode to restore, and a guard has nobody to tell.
        let _ = termios::tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
#[path = "raw_test.rs"]
mod tests;
