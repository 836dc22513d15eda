//! Serves the host's connections, each in a thread of its own: a process, or changes in shares.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cenote_protocol::frame::Message;
use cenote_protocol::{
    Changed, ExecRequest, FrameError, FrameReader, HandshakeError, Kind, ProcessSpec, Refusal,
    Refused, Side, Started, Target, handshake, write_message,
};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::changes::{self, Shares};
use crate::connection::Connection;
use crate::container::{Container, MainRequest};
use crate::launch::{self, Launch, refused};
use crate::place::{self, MachineView};
use crate::session::Session;
use crate::streams;
use crate::{log, trace, vsock};

/// The stack of a thread that serves a connection, in bytes. Its largest frame is a path or two; what it holds for a
/// process is on the heap.
const STACK: usize = 256 << 10;

/// How long to wait before the next try when descriptors or memory have run out.
const SHORTAGE: Duration = Duration::from_millis(200);

/// What connections are about.
#[derive(Debug)]
pub struct Server {
    /// The container.
    pub container: Container,
    /// The machine, as processes outside the container see it.
    pub machine: MachineView,
    /// The container's shares, once they are mounted.
    pub shares: Shares,
}

/// Why a connection ended without a process.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

impl Server {
    /// Accepts connections for as long as the machine runs.
    pub fn listen(self: &Arc<Self>, listener: &OwnedFd) -> ! {
        loop {
            match vsock::accept(listener) {
                Ok(connection) => self.spawn(connection),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(errno) => {
                    log::line(format_args!("cannot accept a connection: {errno}"));
                    // Descriptors or memory have run out; processes that end bring them back.
                    thread::sleep(SHORTAGE);
                }
            }
        }
    }

    fn spawn(self: &Arc<Self>, connection: Connection) {
        let server = self.clone();
        let thread = thread::Builder::new()
            .name("process".into())
            .stack_size(STACK);
        if let Err(e) = thread.spawn(move || server.serve(connection)) {
            // The connection closes: the host sees that nothing was started.
            log::line(format_args!("no thread for a connection: {e}"));
        }
    }

    /// Serves one connection to its end. The calling thread may have changed its namespaces then, so it must not be
    /// used for anything else.
    pub fn serve(&self, connection: Connection) {
        if let Err(error) = self.try_serve(connection) {
            log::line(format_args!("a connection failed: {error}"));
        }
    }

    fn try_serve(&self, mut connection: Connection) -> Result<(), ServeError> {
        handshake(&mut connection, Side::Guest)?;
        let mut reader = FrameReader::new(connection);
        let first = reader.next_frame()?.ok_or(FrameError::Truncated)?;
        if first.kind == Kind::Changed {
            let changed: Changed = first.message()?;
            return Ok(changes::attend(reader, changed, &self.shares)?);
        }
        if first.kind == Kind::TraceRequest {
            let request = first.message()?;
            return Ok(trace::serve(request, reader, &self.container)?);
        }
        let request: ExecRequest = first.message()?;
        let entered = match request.target {
            Target::Main => {
                return match self
                    .container
                    .request_main(Box::new(MainRequest { request, reader }))
                {
                    Ok(()) => Ok(()),
                    Err(unsent) => {
                        let message = "the container was started before";
                        Ok(answer(
                            &unsent.reader,
                            &refused(Refusal::AlreadyStarted, message),
                        )?)
                    }
                };
            }
            Target::Container => self.container.first_process().and_then(|first| {
                place::enter_container(&first).map_err(|error| refused(Refusal::NotRunning, error))
            }),
            Target::Vm => self
                .machine
                .enter()
                .map_err(|error| refused(Refusal::System, error)),
        };
        let join = |launch: Launch| match request.target {
            Target::Vm => launch,
            _ => launch.in_cgroup(self.container.cgroup()),
        };
        match entered.and_then(|()| start(&request, self.container.hostname(), join)) {
            Ok(running) => Ok(running.attend(reader, request.detach)?),
            Err(refused) => Ok(answer(&reader, &refused)?),
        }
    }

    /// Serves the request for the container's first process, in the container's thread.
    ///
    /// # Errors
    /// If the answer cannot be sent; the container has ended in any case.
    pub fn serve_main(&self, MainRequest { request, reader }: MainRequest) {
        let first = |launch: Launch| launch.as_container().in_cgroup(self.container.cgroup());
        let result = match start(&request, self.container.hostname(), first) {
            Ok(running) => match running.process.pidfd.try_clone() {
                Ok(pidfd) => {
                    self.container.started(pidfd);
                    running.attend(reader, request.detach)
                }
                Err(e) => answer(&reader, &refused(Refusal::System, e)),
            },
            Err(refused) => answer(&reader, &refused),
        };
        self.container.ended();
        if let Err(error) = result {
            log::line(format_args!("the container's connection failed: {error}"));
        }
    }
}

/// A process that runs, and the agent's ends of its streams.
struct Running {
    process: crate::sys::Process,
    ends: streams::AgentEnds,
}

/// Starts the process of `request` where the calling thread is, in the `place` that is added to it.
fn start(
    request: &ExecRequest,
    hostname: &str,
    place: impl FnOnce(Launch) -> Launch,
) -> Result<Running, Refused> {
    let spec: &ProcessSpec = &request.process;
    let identity = launch::identity(spec)?;
    let launch = place(Launch::prepare(spec, &identity, hostname)?);
    let made = match spec.terminal {
        _ if request.detach => streams::null(),
        Some(size) => streams::terminal(size, spec.stdin, &identity),
        None => streams::pipes(spec.stdin, &identity),
    };
    let (ends, process_ends) = made.map_err(|errno| {
        refused(
            Refusal::System,
            format!("cannot make the process's streams: {errno}"),
        )
    })?;
    Ok(Running {
        process: launch.start(process_ends)?,
        ends,
    })
}

impl Running {
    /// Stays with the process to its end.
    fn attend(self, reader: FrameReader<Connection>, detach: bool) -> Result<(), FrameError> {
        let pid = self.process.pid.as_raw_nonzero().get().unsigned_abs();
        let told = answer(&reader, &Started { pid });
        if detach {
            drop(reader);
            while let Err(rustix::io::Errno::INTR) = waitid(
                WaitId::PidFd(self.process.pidfd.as_fd()),
                WaitIdOptions::EXITED,
            ) {}
            return told;
        }
        match Session::new(reader, self.process, self.ends) {
            Ok(session) => session.run(),
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        };
        told
    }
}

fn answer(reader: &FrameReader<Connection>, message: &impl Message) -> Result<(), FrameError> {
    write_message(&mut reader.get_ref().clone(), message)
}
