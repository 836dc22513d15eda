//! The monitor's socket: how another process has a signal sent to the container.
//!
//! One request for each connection: the signal's number as one byte; the answer is one byte, 1 when it was passed on.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::session::{Control, Input};

/// A client that connects and says nothing must not keep others waiting longer than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Leads controls to where they belong: before the container runs, a signal ends the boot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Router(Arc<Mutex<Stage>>);

enum Stage {
    /// How to give the boot up, once there is something to give up, and the terminal's newest size.
    Booting {
        abandon: Option<Box<dyn Fn() + Send>>,
        size: Option<Control>,
    },
    /// Given up by this signal.
    Cancelled(i32),
    Running(Input),
}

impl Default for Stage {
    fn default() -> Self {
        Self::Booting {
            abandon: None,
            size: None,
        }
    }
}

impl std::fmt::Debug for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Booting { .. } => "Booting",
            Self::Cancelled(_) => "Cancelled",
            Self::Running(_) => "Running",
        })
    }
}

impl Router {
    /// From now on a signal that ends processes calls `abandon`; at once, if there has been one.
    pub fn booting(&self, abandon: impl Fn() + Send + 'static) {
        match &mut *self.stage() {
            Stage::Booting { abandon: slot, .. } => *slot = Some(Box::new(abandon)),
            Stage::Cancelled(_) => abandon(),
            Stage::Running(_) => {}
        }
    }

    /// From now on controls go to the container.
    pub fn running(&self, input: Input) {
        let mut stage = self.stage();
        if let Stage::Booting {
            size: Some(size), ..
        } = &*stage
        {
            // The container may have ended already; its exit says more than this failure.
            let _ = input.control(*size);
        }
        *stage = Stage::Running(input);
    }

    /// The signal that ended the boot, if one did.
    pub fn cancelled(&self) -> Option<i32> {
        match *self.stage() {
            Stage::Cancelled(signal) => Some(signal),
            _ => None,
        }
    }

    /// Delivers one control; answers whether there was somebody to take it.
    pub fn deliver(&self, control: Control) -> bool {
        let mut stage = self.stage();
        match (&mut *stage, control) {
            (Stage::Running(input), _) => input.control(control).is_ok(),
            (Stage::Booting { size, .. }, Control::Resize { .. }) => {
                *size = Some(control);
                true
            }
            (Stage::Booting { abandon, .. }, Control::Signal(signal)) if ends(signal) => {
                if let Some(abandon) = abandon {
                    abandon();
                }
                *stage = Stage::Cancelled(signal);
                true
            }
            _ => false,
        }
    }

    fn stage(&self) -> std::sync::MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether a process without a handler for the signal would end by it, of those that people send.
fn ends(signal: i32) -> bool {
    [
        Signal::HUP,
        Signal::INT,
        Signal::QUIT,
        Signal::KILL,
        Signal::TERM,
    ]
    .iter()
    .any(|known| known.as_raw() == signal)
}

/// Serves the socket at `path` for the life of the process.
pub(crate) fn serve(path: &Path, router: Router) -> io::Result<()> {
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client that breaks off has only itself to blame.
            let _ = answer(client, &router);
        }
    });
    Ok(())
}

fn answer(mut client: UnixStream, router: &Router) -> io::Result<()> {
    client.set_read_timeout(Some(PATIENCE))?;
    let mut signal = [0];
    client.read_exact(&mut signal)?;
    let taken = router.deliver(Control::Signal(signal[0].into()));
    client.write_all(&[taken.into()])
}

/// Asks the monitor behind the socket at `path` to pass `signal` on; answers whether it did.
pub(crate) fn request(path: &Path, signal: u8) -> io::Result<bool> {
    let mut monitor = UnixStream::connect(path)?;
    monitor.write_all(&[signal])?;
    let mut taken = [0];
    monitor.read_exact(&mut taken)?;
    Ok(taken[0] == 1)
}

/// The process behind the socket at `path`.
pub(crate) fn peer(path: &Path) -> io::Result<Pid> {
    let monitor = UnixStream::connect(path)?;
    Ok(rustix::net::sockopt::socket_peercred(&monitor)?.pid)
}
