//! How much standard input the host may send: the sender's half of the rule behind [`STDIN_WINDOW`].
//!
//! Signals and resizes share the connection with standard input. If the agent stopped reading the connection
//! because a process does not read its input, a Ctrl-C behind that input would never arrive. So the agent always
//! reads, and this window bounds what it must hold.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::STDIN_WINDOW;

/// Shared by the thread that sends standard input and the thread that receives frames.
#[derive(Debug)]
pub struct StdinWindow {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u32,
    closed: bool,
}

/// The agent reported more bytes as taken than were sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the agent took {taken} bytes of standard input where {sent} were sent")]
pub struct TookTooMuch {
    /// What the agent reported.
    pub taken: u32,
    /// What was sent and not yet reported.
    pub sent: u32,
}

impl Default for StdinWindow {
    fn default() -> Self {
        StdinWindow {
            state: Mutex::new(State {
                free: STDIN_WINDOW,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }
}

impl StdinWindow {
    /// Blocks until something may be sent, and says how many bytes; `None` once the process has ended.
    pub fn wait(&self) -> Option<u32> {
        let mut state = self.lock();
        while state.free == 0 && !state.closed {
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        (!state.closed).then_some(state.free)
    }

    /// Notes that `bytes` are about to be sent; never more than [`Self::wait`] allowed.
    pub fn spend(&self, bytes: u32) {
        let mut state = self.lock();
        debug_assert!(bytes <= state.free, "sent beyond the window");
        state.free = state.free.saturating_sub(bytes);
    }

    /// Takes over a [`crate::StdinTaken`] of the agent.
    ///
    /// # Errors
    /// [`TookTooMuch`] if the agent reports bytes that were never sent.
    pub fn taken(&self, bytes: u32) -> Result<(), TookTooMuch> {
        let mut state = self.lock();
        let sent = STDIN_WINDOW - state.free;
        if bytes > sent {
            return Err(TookTooMuch { taken: bytes, sent });
        }
        state.free += bytes;
        self.changed.notify_all();
        Ok(())
    }

    /// Wakes the sender for good: the process has ended or the connection is lost.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "window_test.rs"]
mod tests;
