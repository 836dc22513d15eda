//! The control connection: the agent calls, gets the plan, and says when the container may start.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use cenote_protocol::{
    BootPlan, BootTimes, CONTROL_PORT, Failed, Frame, FrameError, FrameReader, HandshakeError,
    Hello, Kind, Message, Owner, OwnerTaken, Ready, Side, Stopped, handshake, write_message,
};

use crate::sandbox::Sandbox;

/// Why the agent did not come up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket for the agent could not be made.
    #[error("cannot listen for the guest at {path}: {source}")]
    Listen {
        /// The socket.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The connection could not be taken.
    #[error("the guest did not connect: {0}")]
    Accept(io::Error),
    /// Another version, or something that is not our agent.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection broke, or the agent said what it must not.
    #[error("lost the connection to the guest: {0}")]
    Frame(#[from] FrameError),
    /// The agent could not carry out the plan.
    #[error("the guest could not {what} ({on}){}", reason(*.errno))]
    Failed {
        /// The step.
        what: String,
        /// What it was done to.
        on: String,
        /// The guest kernel's error number.
        errno: Option<i32>,
    },
}

fn reason(errno: Option<i32>) -> String {
    errno
        .map(|number| format!(": {}", io::Error::from_raw_os_error(number)))
        .unwrap_or_default()
}

/// Where the agent will call.
#[derive(Debug)]
pub(crate) struct Door {
    listener: UnixListener,
}

/// The agent is there and waits for the plan.
#[derive(Debug)]
pub(crate) struct Caller {
    stream: UnixStream,
    frames: FrameReader<UnixStream>,
    /// When it called.
    pub at: Instant,
}

/// The agent, with the container's surroundings in place.
#[derive(Debug)]
pub(crate) struct Agent {
    stream: UnixStream,
    frames: FrameReader<UnixStream>,
    /// When each of its steps ended.
    pub times: BootTimes,
}

impl Door {
    pub fn open(sandbox: &Sandbox) -> Result<Self, Error> {
        let mut path = sandbox.vsock().into_os_string();
        path.push(format!("_{CONTROL_PORT}"));
        let listener = UnixListener::bind(&path).map_err(|source| Error::Listen {
            path: PathBuf::from(&path),
            source,
        })?;
        Ok(Self { listener })
    }

    /// What ends [`Self::wait`] from another thread, for good.
    pub fn closer(&self) -> io::Result<impl Fn() + Send + 'static> {
        let listener = self.listener.try_clone()?;
        // Shutting a listening Unix socket down wakes whoever accepts on it.
        Ok(move || {
            // It fails on a socket that is shut down already.
            let _ = rustix::net::shutdown(&listener, rustix::net::Shutdown::Both);
        })
    }

    /// Waits for the agent's call.
    pub fn wait(&self) -> Result<Caller, Error> {
        let (mut stream, _) = self.listener.accept().map_err(Error::Accept)?;
        let at = Instant::now();
        handshake(&mut stream, Side::Host)?;
        let mut frames = FrameReader::new(stream.try_clone().map_err(Error::Accept)?);
        let Hello { kernel } = frames.next_message()?;
        tracing::debug!(kernel, "the agent has called");
        Ok(Caller { stream, frames, at })
    }
}

impl Caller {
    /// Hands the plan over and waits until it has been carried out. `own` is called with the owner of shared files, if
    /// the plan asks for it.
    pub fn boot(mut self, mut plan: BootPlan, own: impl Fn(Owner)) -> Result<Agent, Error> {
        plan.wall_clock_ns = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            });
        write_message(&mut self.stream, &plan)?;
        if plan.container.owner.is_some() {
            let answer = self.frames.next_frame()?.ok_or(FrameError::Truncated)?;
            own(told(answer)?);
            write_message(&mut self.stream, &OwnerTaken {})?;
        }
        let answer = self.frames.next_frame()?.ok_or(FrameError::Truncated)?;
        let times = told::<Ready>(answer)?.times;
        Ok(Agent {
            stream: self.stream,
            frames: self.frames,
            times,
        })
    }
}

/// The message in `answer`, unless it says that the plan has failed.
fn told<M: Message>(answer: Frame<'_>) -> Result<M, Error> {
    if answer.kind == Kind::Failed {
        let Failed { what, on, errno } = answer.message()?;
        return Err(Error::Failed { what, on, errno });
    }
    Ok(answer.message()?)
}

impl Agent {
    /// Has the agent end everything and write it to the disk; returns when that is done or cannot be.
    pub fn shut_down(mut self) {
        // Whatever goes wrong here, the machine is about to be ended anyway.
        let _ = write_message(&mut self.stream, &cenote_protocol::Shutdown {});
        let _ = self.frames.next_message::<Stopped>();
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}
