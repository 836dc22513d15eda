//! The monitor: the process that owns a sandbox's machine from boot to end.
//!
//! ```text
//! lock ─> assemble ─> start the machine ─> the agent calls ─> plan ─> ready ─> main process ─> its exit ─> end
//!                            │ the machine stops, time runs out or a signal comes: no agent, an error │
//! ```
//!
//! `run` in the foreground is its own monitor, so that the terminal's streams go straight to the guest. Everything that
//! the machine or the sandbox leaves outside its folder is gone when [`run`] returns.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use cenote_backend::Vm;
use cenote_protocol::{ExecRequest, Target};
use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit};

use crate::boot::{self, Door};
use crate::changes;
use crate::console::{self, Console};
use crate::control::{self, Router};
use crate::host::{self, Host};
use crate::log::{Stream, Writer};
use crate::machine::{self, Held};
use crate::sandbox::{Sandbox, now};
use crate::session::{self, Output, Session, Stdio, write_all};
use crate::state::State;
use crate::store::{Error as StoreError, io_error};
use crate::timing::Timing;
use crate::watch::{BOOT_LIMIT, Watch};

/// How long a machine may take to write its disk when it is told to end.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);

/// What a shell reports of a program whose reader is gone: 128 and SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Why a sandbox did not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else runs it.
    #[error("sandbox {name} is running already")]
    Busy {
        /// Its name.
        name: String,
    },
    /// A file of the sandbox could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nothing here can run the machine.
    #[error(transparent)]
    Host(#[from] host::Error),
    /// The machine could not be put together.
    #[error(transparent)]
    Assemble(#[from] machine::Error),
    /// The machine could not be started.
    #[error(transparent)]
    Start(#[from] cenote_backend::StartError),
    /// The machine stopped before the container ran.
    #[error("the machine ended before its container ran: {reason}{}", console::quote(.console))]
    NoAgent {
        /// Why it ended.
        reason: String,
        /// The console's last lines.
        console: String,
    },
    /// The guest needed too long.
    #[error("the guest did not come up within {} s{}", BOOT_LIMIT.as_secs(), console::quote(.console))]
    TooSlow {
        /// The console's last lines.
        console: String,
    },
    /// The agent failed, or something else answered.
    #[error("{source}{}", console::quote(.console))]
    Boot {
        /// The reason.
        source: boot::Error,
        /// The console's last lines.
        console: String,
    },
    /// The container's process did not start, or was lost.
    #[error(transparent)]
    Process(#[from] session::Error),
    /// The machine ended under the running container.
    #[error("the machine ended before its container did: {reason}{}", console::quote(.console))]
    Lost {
        /// Why it ended.
        reason: String,
        /// The console's last lines.
        console: String,
    },
    /// A signal came before the container ran.
    #[error("given up by signal {0} before the container ran")]
    Cancelled(i32),
    /// A thread, pipe or socket of the monitor could not be made.
    #[error("the monitor cannot work: {0}")]
    Monitor(#[from] io::Error),
}

impl Error {
    /// The exit code that goes with the error: 126 or 127 when the program was at fault, 128 and the signal when one
    /// came, else 125.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Process(session::Error::Refused(refused)) => refused.reason.exit_code(),
            Self::Process(session::Error::Local(error))
                if error.kind() == io::ErrorKind::BrokenPipe =>
            {
                BROKEN_PIPE
            }
            Self::Cancelled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            _ => 125,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The container's exit code.
    pub code: u8,
    /// Where the time went.
    pub timing: Timing,
}

/// Runs `sandbox` to its end. Call it from the process's main thread: the machine lives as long as the calling thread.
///
/// `started` is called once the container's process runs. With `stdio` the caller's streams are the container's;
/// without, output only goes to the log.
///
/// # Errors
/// See [`Error`]. The sandbox is then `exited` with the error in its state, or removed if it was to be.
pub fn run(
    sandbox: &Sandbox,
    host: &Host,
    stdio: Option<Stdio>,
    started: impl FnOnce(),
) -> Result<Outcome, Error> {
    let lock = take(sandbox)?;
    raise_descriptor_limit();
    let mut timing = Timing::begin();
    let mut began = None;
    let ended = supervise(sandbox, host, stdio, &mut timing, || {
        began = Some(now());
        started();
    });
    timing.ended = Some(Instant::now());
    let code = ended.as_ref().map_or_else(Error::exit_code, |code| *code);
    // The code is told in the lock file too: whoever waits holds that open, also when the sandbox is removed.
    let told = lock
        .write_at(&[code], 0)
        .map_err(io_error(sandbox.file("lock")));
    let error = ended.as_ref().err().map(ToString::to_string);
    let finished = sandbox.write_state(&State::Exited {
        code,
        started: began,
        finished: now(),
        error,
    });
    let removed = if sandbox.spec().remove_on_exit {
        sandbox.delete(true)
    } else {
        sandbox.remove_runtime()
    };
    ended?;
    told.and(finished).and(removed)?;
    Ok(Outcome { code, timing })
}

/// Each connection to the guest is a descriptor of this process, and the usual limit of 1024 is soon reached.
fn raise_descriptor_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = rustix::process::setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "the limit of open files stays at {:?}", limit.current);
    }
}

/// Takes the lock that says that a monitor is at work, with no exit code in it yet.
fn take(sandbox: &Sandbox) -> Result<File, Error> {
    let failed = io_error(sandbox.file("lock"));
    let lock = sandbox
        .lock(FlockOperation::NonBlockingLockExclusive)
        .map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::Busy {
                name: sandbox.spec().name.clone(),
            },
            _ => failed(error).into(),
        })?;
    lock.set_len(0).map_err(failed)?;
    // What a killed monitor left behind.
    sandbox.remove_runtime()?;
    Ok(lock)
}

/// Boots, runs the main process, ends the machine.
fn supervise(
    sandbox: &Sandbox,
    host: &Host,
    stdio: Option<Stdio>,
    timing: &mut Timing,
    started: impl FnOnce(),
) -> Result<u8, Error> {
    let monitor = rustix::process::getpid().as_raw_pid();
    sandbox.write_state(&State::Starting { monitor })?;
    let router = Router::default();
    let streams = stdio.map(|stdio| Streams::lead(stdio, &router));
    sandbox.make_runtime()?;
    control::serve(&sandbox.control_socket(), router.clone())?;
    let backend = host.backend(sandbox.spec())?;
    let assembly = machine::assemble(sandbox, host, &backend)?;
    let door = Door::open(sandbox).map_err(|source| Error::Boot {
        source,
        console: String::new(),
    })?;
    let closer = door.closer()?;
    let vm: Arc<dyn Vm> = Arc::from(backend.start(assembly.machine)?);
    timing.launched = Some(Instant::now());
    let console = Console::record(vm.console(), &sandbox.console_log())?;
    let watch = Watch::begin(vm, router, console, closer);
    let agent = watch.boot(&door, assembly.plan, &assembly.servers, timing)?;
    drop(assembly.filling);
    let session = Session::start(&sandbox.vsock(), &main_process(sandbox))?;
    if let Some(changes) = assembly.changes {
        changes::tell(changes, sandbox.vsock());
    }
    let began = now();
    let halt = watch.halt(sandbox, began);
    watch
        .router
        .running(session.input(), halt, assembly.observed);
    sandbox.write_state(&State::Running {
        monitor,
        started: began,
    })?;
    started();
    let ended = attend(session, streams, sandbox);
    watch.router.ended();
    timing.exited = Some(Instant::now());
    let code = ended.map_err(|error| match error {
        session::Error::Ended | session::Error::Frame(_) => watch.lost(),
        other => other.into(),
    })?;
    if !sandbox.spec().remove_on_exit {
        watch.within(SHUTDOWN_LIMIT, || agent.shut_down());
    }
    drop(watch);
    drop::<Held>(assembly.held);
    Ok(code)
}

fn main_process(sandbox: &Sandbox) -> ExecRequest {
    ExecRequest {
        target: Target::Main,
        detach: false,
        process: sandbox.spec().process.clone(),
    }
}

/// Passes the streams on until the main process has ended.
fn attend(
    session: Session,
    streams: Option<Streams>,
    sandbox: &Sandbox,
) -> Result<u8, session::Error> {
    let (stdin, outputs) = streams.map_or((None, None), |streams| {
        (streams.stdin, Some(streams.outputs))
    });
    let _feeder = stdin.map(|stdin| session.input().feed(stdin)).transpose()?;
    let log = Writer::open(&sandbox.file("output.log"))?;
    let exited = session.run(&mut Recorder { outputs, log })?;
    Ok(exited.exit_code())
}

/// The caller's streams; the controls go their own way.
struct Streams {
    stdin: Option<OwnedFd>,
    outputs: (OwnedFd, OwnedFd),
}

impl Streams {
    /// Leads controls to the container for as long as the caller sends some.
    fn lead(stdio: Stdio, router: &Router) -> Self {
        let router = router.clone();
        let controls = stdio.controls;
        thread::spawn(move || {
            for control in controls {
                router.deliver(control);
            }
        });
        Self {
            stdin: stdio.stdin,
            outputs: (stdio.stdout, stdio.stderr),
        }
    }
}

/// Writes the main process's output to the caller, if there is one, and to the log.
struct Recorder {
    outputs: Option<(OwnedFd, OwnedFd)>,
    log: Writer,
}

impl Output for Recorder {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        match (&self.outputs, stream) {
            (Some((stdout, _)), Stream::Stdout) => write_all(stdout, bytes)?,
            (Some((_, stderr)), Stream::Stderr) => write_all(stderr, bytes)?,
            (None, _) => {}
        }
        self.log.append(stream, bytes)
    }
}
