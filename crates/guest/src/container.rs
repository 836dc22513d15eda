//! The container: its namespaces, its first process, and the way in for others.
//!
//! ```text
//!            build                start_main            main ends
//! Preparing ───────> Prepared ───────────────> Running ───────────> Ended
//! ```
//!
//! A thread of its own owns the container: namespaces belong to threads, so this thread leaves the machine's, builds
//! the container's file system where it then is, waits for the host's request, starts the first process and stays
//! with it. Threads of other requests enter the namespaces of the first process by its descriptor.

pub mod build;
pub mod dev;
mod fill;
pub mod inside;
pub(crate) mod mount_point;
pub mod mounts;
mod options;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cenote_protocol::{ExecRequest, FrameReader, Refusal, Refused};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use crate::connection::Connection;
use crate::launch::refused;
use crate::sys;

/// A request for the first process, on its way to the container's thread.
#[derive(Debug)]
pub struct MainRequest {
    /// What to run.
    pub request: ExecRequest,
    /// Where the answer goes.
    pub reader: FrameReader<Connection>,
}

#[derive(Debug)]
enum State {
    /// The file system is being built, or waits for the first process.
    Preparing,
    /// The first process runs; this is its descriptor.
    Running(OwnedFd),
    /// The first process has ended, or never could be started.
    Ended,
}

/// What other threads know of the container.
#[derive(Debug)]
pub struct Container {
    hostname: String,
    cgroup: Option<OwnedFd>,
    state: Mutex<State>,
    main: Mutex<Option<Sender<Box<MainRequest>>>>,
}

impl Container {
    /// A container that is being prepared, its control group if there is one, and the end at which its thread receives the request for the first
    /// process.
    pub fn new(
        hostname: String,
        cgroup: Option<OwnedFd>,
    ) -> (Container, Receiver<Box<MainRequest>>) {
        let (sender, receiver) = channel();
        let container = Container {
            hostname,
            cgroup,
            state: Mutex::new(State::Preparing),
            main: Mutex::new(Some(sender)),
        };
        (container, receiver)
    }

    /// The container's host name.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// A copy of the descriptor of the container's control group, if it has one.
    pub fn cgroup(&self) -> Option<OwnedFd> {
        // Without it a process runs in the machine's own group: no worse than without control groups.
        self.cgroup
            .as_ref()
            .and_then(|cgroup| cgroup.try_clone().ok())
    }

    /// Hands the request for the first process to the container's thread.
    ///
    /// # Errors
    /// Gives the request back if there was one before.
    pub fn request_main(&self, main: Box<MainRequest>) -> Result<(), Box<MainRequest>> {
        let sender = self
            .main
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match sender {
            Some(sender) => sender.send(main).map_err(|unsent| unsent.0),
            None => Err(main),
        }
    }

    /// Notes that the first process runs.
    pub fn started(&self, pidfd: OwnedFd) {
        *self.lock() = State::Running(pidfd);
    }

    /// Notes that the first process has ended.
    pub fn ended(&self) {
        *self.lock() = State::Ended;
    }

    /// The descriptor of the first process, for entering its namespaces.
    ///
    /// # Errors
    /// [`Refusal::NotRunning`] before and after its life.
    pub fn first_process(&self) -> Result<OwnedFd, Refused> {
        match &*self.lock() {
            State::Running(pidfd) => pidfd.try_clone().map_err(|e| {
                refused(
                    Refusal::System,
                    format!("the guest has no descriptor left: {e}"),
                )
            }),
            State::Preparing => Err(refused(
                Refusal::NotRunning,
                "the container has not started yet",
            )),
            State::Ended => Err(refused(Refusal::NotRunning, "the container has ended")),
        }
    }

    /// Ends the container with SIGKILL and waits until its first process, and with it every other, is gone.
    pub fn kill(&self) {
        // A request that has not arrived yet shall not start one.
        drop(
            self.main
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take(),
        );
        // Not running is as good as ended.
        let Ok(pidfd) = self.first_process() else {
            return;
        };
        // It may have ended in this moment.
        let _ = sys::send_signal(pidfd.as_fd(), libc::SIGKILL as u8);
        while let Err(Errno::INTR) = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], None) {}
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
