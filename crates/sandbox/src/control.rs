//! The monitor's socket: how another process has a signal sent to the container, or its machine paused.
//!
//! One request for each connection: one byte, a signal's number or one of the others ([`Request`]). The answer is one
//! byte ([`Answer`]), and what was asked for, as JSON: all at once, or for a trace line by line.

use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal};

use crate::observe::Observed;
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
    /// What was counted of its shares is wanted.
    Stats,
    /// One in so many requests on its shares is wanted as it is served.
    Trace(u32),
}

/// Signals end far below.
const PAUSE: u8 = 0xf0;
const RESUME: u8 = 0xf1;
const STATS: u8 = 0xf2;
/// Four more bytes follow, little-endian: the rate.
const TRACE: u8 = 0xf3;

impl Request {
    fn send(self, to: &mut impl Write) -> io::Result<()> {
        match self {
            Self::Signal(signal) => to.write_all(&[signal]),
            Self::Pause => to.write_all(&[PAUSE]),
            Self::Resume => to.write_all(&[RESUME]),
            Self::Stats => to.write_all(&[STATS]),
            Self::Trace(rate) => {
                let [a, b, c, d] = rate.to_le_bytes();
                to.write_all(&[TRACE, a, b, c, d])
            }
        }
    }

    fn receive(from: &mut impl Read) -> io::Result<Self> {
        let mut kind = [0];
        from.read_exact(&mut kind)?;
        Ok(match kind[0] {
            PAUSE => Self::Pause,
            RESUME => Self::Resume,
            STATS => Self::Stats,
            TRACE => {
                let mut rate = [0; 4];
                from.read_exact(&mut rate)?;
                Self::Trace(u32::from_le_bytes(rate))
            }
            signal => Self::Signal(signal),
        })
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
        shares: Observed,
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

    /// From now on controls go to the container, its machine can be paused by `halt`, and one can ask about its `shares`.
    pub fn running(&self, input: Input, halt: Halt, shares: Observed) {
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
            shares,
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

    /// The shares of the container that runs.
    fn shares(&self) -> Option<Observed> {
        match &*self.stage() {
            Stage::Running { shares, .. } => Some(shares.clone()),
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
                    ..
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
    let request = Request::receive(&mut client)?;
    let answer = match request {
        Request::Signal(signal) if router.deliver(Control::Signal(signal.into())) => Answer::Done,
        Request::Signal(_) => Answer::NotRunning,
        Request::Pause => router.pause(true),
        Request::Resume => router.pause(false),
        Request::Stats | Request::Trace(_) => return tell(client, request, router),
    };
    client.write_all(&[answer as u8])
}

/// Tells of the shares of the container that runs.
fn tell(mut client: UnixStream, request: Request, router: &Router) -> io::Result<()> {
    let Some(shares) = router.shares() else {
        return client.write_all(&[Answer::NotRunning as u8]);
    };
    client.set_write_timeout(Some(PATIENCE))?;
    client.write_all(&[Answer::Done as u8])?;
    match request {
        Request::Trace(rate) => shares.trace(rate, client),
        _ => client.write_all(&serde_json::to_vec(&shares.stats())?),
    }
}

/// Asks the monitor behind the socket at `path` to do something. What it has to tell beyond its answer is to be read
/// from the connection.
pub(crate) fn request(path: &Path, request: Request) -> io::Result<(Answer, UnixStream)> {
    let mut monitor = UnixStream::connect(path)?;
    request.send(&mut monitor)?;
    let mut answer = [0];
    monitor.read_exact(&mut answer)?;
    let answer = match answer[0] {
        1 => Answer::Done,
        2 => Answer::Failed,
        _ => Answer::NotRunning,
    };
    Ok((answer, monitor))
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
