//! The error of set-up work: which step failed, on what, and what the kernel answered.

use cenote_protocol::Failed;
use rustix::io::Errno;

/// A step of building the machine or the container that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot {what} {on}: {errno}")]
pub struct StepError {
    /// The step as a verb phrase, such as `mount erofs on`.
    pub what: &'static str,
    /// What it was done to: a path, a device, a name.
    pub on: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl From<StepError> for Failed {
    fn from(error: StepError) -> Failed {
        Failed {
            what: error.what.into(),
            on: error.on,
            errno: Some(error.errno.raw_os_error()),
        }
    }
}

/// Names the step in which a system call failed.
pub trait Step<T> {
    /// Turns the error into a [`StepError`].
    ///
    /// # Errors
    /// When `self` is one.
    fn step(self, what: &'static str, on: impl ToString) -> Result<T, StepError>;
}

impl<T> Step<T> for Result<T, Errno> {
    fn step(self, what: &'static str, on: impl ToString) -> Result<T, StepError> {
        self.map_err(|errno| StepError {
            what,
            on: on.to_string(),
            errno,
        })
    }
}

impl<T> Step<T> for std::io::Result<T> {
    fn step(self, what: &'static str, on: impl ToString) -> Result<T, StepError> {
        self.map_err(|e| StepError {
            what,
            on: on.to_string(),
            errno: Errno::from_io_error(&e).unwrap_or(Errno::IO),
        })
    }
}
