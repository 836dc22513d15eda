//! The monitor's socket: how another process has a signal sent to the container, or its machine paused.
//!
//! One request for each connection: one byte, a signal's number or one of the others ([`Request`]). The answer is one
//! byte ([`Answer`]).

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

/// What can be asked of a monitor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Request {
    /// A signal for the container's main process.
    Signal(u8),
    /// The machine shall stand still.
    Pause,
    /// It shall go on.
    Resume,
}

/// Signals end far below.
const PAUSE: u8 = 0xf0;
const RESUME: u8 = 0xf1;

impl Request {
    fn byte(self) -> u8 {
        match self {
            Self::Signal(signal) => signal,
            Self::Pause => PAUSE,
            Self::Resume => RESUME,
        }
    }

    fn of(byte: u8) -> Self {
        match byte {
            PAUSE => Self::Pause,
            RESUME => Self::Resume,
            signal => Self::Signal(signal),
        }
    }
}

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Answer {
    /// There is no container to do it to.
    NotRunning = 0,
    /// It is done.
    Done = 1,
    /// The machine does not obey.
    Failed = 2,
}

/// Stops the machine's processors (`true`) or lets them go on, and notes it in the sandbox's state.
pub(crate) type Halt = Box<dyn Fn(bool) -> io::Result<()> + Send>;

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
    Running {
        input: Input,
        halt: Halt,
        paused: bool,
    },
    /// Nothing is there any more to control.
    Ended,
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
            Self::Running { .. } => "Running",
            Self::Ended => "Ended",
        })
    }
}

impl Router {
    /// From now on a signal that ends processes calls `abandon`; at once, if there has been one.
    pub fn booting(&self, abandon: impl Fn() + Send + 'static) {
        match &mut *self.stage() {
            Stage::Booting { abandon: slot, .. } => *slot = Some(Box::new(abandon)),
            Stage::Cancelled(_) => abandon(),
            Stage::Running { .. } | Stage::Ended => {}
        }
    }

    /// From now on controls go to the container, and its machine can be paused by `halt`.
    pub fn running(&self, input: Input, halt: Halt) {
        let mut stage = self.stage();
        if let Stage::Booting {
            size: Some(size), ..
        } = &*stage
        {
            // The container may have ended already; its exit says more than this failure.
            let _ = input.control(*size);
        }
        *stage = Stage::Running {
            input,
            halt,
            paused: false,
        };
    }

    /// From now on there is nothing to control: the sandbox's state is its monitor's again.
    pub fn ended(&self) {
        *self.stage() = Stage::Ended;
    }

    /// Stops the machine or lets it go on.
    fn pause(&self, wanted: bool) -> Answer {
        match &mut *self.stage() {
            Stage::Running { halt, paused, .. } => match halt(wanted) {
                Ok(()) => {
                    *paused = wanted;
                    Answer::Done
                }
                Err(error) => {
                    tracing::error!(%error, "the machine cannot be paused or let go on");
                    Answer::Failed
                }
            },
            _ => Answer::NotRunning,
        }
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
            (
                Stage::Running {
                    input,
                    halt,
                    paused,
                },
                _,
            ) => {
                let sent = input.control(control).is_ok();
                if *paused && control == Control::Signal(Signal::KILL.as_raw()) {
                    // It could not die standing still. If it cannot go on either, whoever kills it ends the machine.
                    *paused = halt(false).is_err();
                }
                sent
            }
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
    let mut request = [0];
    client.read_exact(&mut request)?;
    let answer = match Request::of(request[0]) {
        Request::Signal(signal) if router.deliver(Control::Signal(signal.into())) => Answer::Done,
        Request::Signal(_) => Answer::NotRunning,
        Request::Pause => router.pause(true),
        Request::Resume => router.pause(false),
    };
    client.write_all(&[answer as u8])
}

/// Asks the monitor behind the socket at `path` to do something.
pub(crate) fn request(path: &Path, request: Request) -> io::Result<Answer> {
    let mut monitor = UnixStream::connect(path)?;
    monitor.write_all(&[request.byte()])?;
    let mut answer = [0];
    monitor.read_exact(&mut answer)?;
    Ok(match answer[0] {
        1 => Answer::Done,
        2 => Answer::Failed,
        _ => Answer::NotRunning,
    })
}

/// Whether an error of [`request`] means that there is no monitor.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
    )
}

/// The process behind the socket at `path`.
pub(crate) fn peer(path: &Path) -> io::Result<Pid> {
    let monitor = UnixStream::connect(path)?;
    Ok(rustix::net::sockopt::socket_peercred(&monitor)?.pid)
}
