//! What a sandbox is doing, as the file `state.json` in its folder says.
//!
//! ```text
//! created ──> starting ──> running <──> paused
//!                 │           └──> exited
//!                 └──────────────────^
//! ```
//!
//! Only the monitor writes the file, and it holds the sandbox's lock all its life. `starting`, `running` or `paused`
//! without a held lock therefore means that the monitor was killed: readers see [`State::Dead`].

use serde::{Deserialize, Serialize};

/// Where a sandbox stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "status")]
pub enum State {
    /// Never started.
    Created,
    /// The VM boots.
    Starting {
        /// The monitor's process id.
        monitor: i32,
    },
    /// The container's process runs.
    Running {
        /// The monitor's process id.
        monitor: i32,
        /// When the container's process started, in milliseconds since 1970.
        started: u64,
    },
    /// Nothing of it runs, until it is let go on.
    Paused {
        /// The monitor's process id.
        monitor: i32,
        /// When the container's process started, in milliseconds since 1970.
        started: u64,
    },
    /// The container's process ended, or the sandbox failed.
    Exited {
        /// What [`crate::Sandbox::wait`] answers.
        code: u8,
        /// When the process started, if it did.
        started: Option<u64>,
        /// When it ended, in milliseconds since 1970.
        finished: u64,
        /// Why Cenote itself failed, if it did.
        error: Option<String>,
    },
    /// The monitor was killed; the VM went with it. Never written.
    Dead,
}

impl State {
    /// Whether a monitor is at work.
    pub fn is_active(&self) -> bool {
        self.monitor().is_some()
    }

    /// The process that is at work, if one is.
    pub fn monitor(&self) -> Option<i32> {
        match *self {
            Self::Starting { monitor }
            | Self::Running { monitor, .. }
            | Self::Paused { monitor, .. } => Some(monitor),
            Self::Created | Self::Exited { .. } | Self::Dead => None,
        }
    }

    /// The word that listings show.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting { .. } => "starting",
            Self::Running { .. } => "running",
            Self::Paused { .. } => "paused",
            Self::Exited { .. } => "exited",
            Self::Dead => "dead",
        }
    }
}
