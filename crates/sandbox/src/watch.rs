//! A running machine under the monitor's eyes: what ends it, and what its end means.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use cenote_backend::{Stopped, Vm};
use cenote_protocol::BootPlan;

use crate::boot::{self, Agent, Door};
use crate::console::{self, Console};
use crate::control::{Halt, Router};
use crate::monitor::Error;
use crate::sandbox::Sandbox;
use crate::share::Servers;
use crate::state::State;
use crate::timing::Timing;

/// A guest that has not called by then never will. Emulation on a loaded host is slow: be generous.
pub(crate) const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// The machine, ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Watch {
    vm: Arc<dyn Vm>,
    pub router: Router,
    console: Console,
    overdue: Arc<AtomicBool>,
}

impl Watch {
    /// Watches `vm`; `closer` is called when it has stopped.
    pub fn begin(
        vm: Arc<dyn Vm>,
        router: Router,
        console: Console,
        closer: impl Fn() + Send + 'static,
    ) -> Self {
        let waiting = Arc::clone(&vm);
        thread::spawn(move || {
            waiting.wait();
            closer();
        });
        let abandoned = Arc::clone(&vm);
        router.booting(move || abandoned.kill());
        Self {
            vm,
            router,
            console,
            overdue: Arc::default(),
        }
    }

    /// Waits for the agent and has it carry out `plan`. `servers` learn who the container's main process is.
    pub fn boot(
        &self,
        door: &Door,
        plan: BootPlan,
        servers: &Servers,
        timing: &mut Timing,
    ) -> Result<Agent, Error> {
        let booted = self.within(BOOT_LIMIT, || {
            let caller = door.wait()?;
            timing.called = Some(caller.at);
            caller.boot(plan, |owner| servers.belong_to(owner))
        });
        let agent = booted.map_err(|source| self.explain(source))?;
        timing.ready = Some(Instant::now());
        timing.guest = Some(agent.times);
        Ok(agent)
    }

    /// What pauses the machine of `sandbox`, whose container `started` then, and notes it in the state.
    pub fn halt(&self, sandbox: &Sandbox, started: u64) -> Halt {
        let (vm, sandbox) = (Arc::clone(&self.vm), sandbox.clone());
        let monitor = rustix::process::getpid().as_raw_pid();
        Box::new(move |pause| {
            let state = if pause {
                vm.pause()?;
                State::Paused { monitor, started }
            } else {
                vm.resume()?;
                State::Running { monitor, started }
            };
            sandbox.write_state(&state).map_err(io::Error::other)
        })
    }

    /// Runs `work` and ends the machine if that takes longer than `limit`.
    pub fn within<T>(&self, limit: Duration, work: impl FnOnce() -> T) -> T {
        let (finished, unfinished) = mpsc::channel::<()>();
        let (vm, overdue) = (Arc::clone(&self.vm), Arc::clone(&self.overdue));
        thread::spawn(move || {
            if unfinished.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                overdue.store(true, Ordering::Relaxed);
                vm.kill();
            }
        });
        let result = work();
        drop(finished);
        result
    }

    /// Why there is no agent: the nearest cause first.
    fn explain(&self, source: boot::Error) -> Error {
        if let Some(signal) = self.router.cancelled() {
            return Error::Cancelled(signal);
        }
        if matches!(
            source,
            boot::Error::Failed { .. } | boot::Error::Handshake(_)
        ) {
            return Error::Boot {
                source,
                console: self.last_lines(),
            };
        }
        let overdue = self.overdue.load(Ordering::Relaxed);
        let (reason, console) = self.post_mortem();
        match overdue {
            true => Error::TooSlow { console },
            false => Error::NoAgent { reason, console },
        }
    }

    /// The machine is gone, and the container with it.
    pub fn lost(&self) -> Error {
        let (reason, console) = self.post_mortem();
        Error::Lost { reason, console }
    }

    /// Why the machine ended, and its console's last lines. What the guest's kernel said itself says most.
    fn post_mortem(&self) -> (String, String) {
        let stopped = self.stop();
        let console = self.console.tail();
        let reason = match (console::panic(&console), stopped) {
            (Some(panic), _) => format!("the guest's kernel panicked: {panic}"),
            (None, Stopped::Failed(reason)) => reason,
            (None, Stopped::Reset) => {
                "the guest reset itself, or had to be reset by a triple fault".to_owned()
            }
            (None, Stopped::Off) => "the guest powered off".to_owned(),
        };
        (reason, console)
    }

    /// The console's end, for an error that comes while the machine runs.
    pub fn last_lines(&self) -> String {
        self.stop();
        self.console.tail()
    }

    fn stop(&self) -> Stopped {
        self.vm.kill();
        self.vm.wait()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop();
    }
}
