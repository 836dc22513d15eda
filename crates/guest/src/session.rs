//! One process and one connection: streams, signals and the size of the terminal until the process has ended.
//!
//! A session is a loop around poll(2) in a thread of its own, so no session waits for another.
//!
//! - *Input.* The connection is always read, so that signals get through; what the process has not taken yet is held
//!   here, up to [`STDIN_WINDOW`]. When the input ends, a pipe is closed; on a terminal the end-of-file character is
//!   typed, as a user would.
//! - *Output.* A stream is read only when the connection has taken what was read before: the process waits when the
//!   host is slow, and nothing piles up.
//! - *Exit.* When the process has ended, what it left in its pipes or its terminal is sent, then [`Exited`]. A child
//!   that keeps a pipe open does not delay that: as with podman, what it writes later is lost.
//! - *Loss.* When the connection is lost, the process is hung up: SIGHUP, its streams are closed, its end is awaited.

mod input;
mod output;

use std::io;
use std::os::fd::AsFd;

use cenote_protocol::{
    Exited, Frame, FrameError, FrameReader, Kind, STDIN_WINDOW, Signal, WindowSize,
};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::connection::Connection;
use crate::log;
use crate::session::input::Input;
use crate::session::output::Output;
use crate::streams::{self, AgentEnds};
use crate::sys::{self, Process};

/// A running process and its connection.
#[derive(Debug)]
pub struct Session {
    reader: FrameReader<Connection>,
    connection: Connection,
    process: Process,
    terminal: Option<std::os::fd::OwnedFd>,
    input: Input,
    output: Output,
    exited: Option<Exited>,
    lost: bool,
}

/// Why a session gave up its connection.
#[derive(Debug, thiserror::Error)]
enum Loss {
    #[error("the host broke the protocol")]
    Frame(#[from] FrameError),
    #[error("the host sent more than {STDIN_WINDOW} bytes of input ahead")]
    WindowExceeded,
    #[error("the connection failed: {0}")]
    Failed(#[from] Errno),
    #[error("the host closed the connection")]
    Closed,
}

/// What a session waits for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Process,
    Connection,
    Input,
    Output,
    Errors,
}

/// What poll(2) found at each [`Source`].
#[derive(Debug)]
struct Events([PollFlags; 5]);

impl Events {
    fn at(&self, source: Source) -> PollFlags {
        self.0[source as usize]
    }
}

impl Session {
    /// Joins a started process, the agent's ends of its streams and the connection that asked for it.
    ///
    /// # Errors
    /// If the connection cannot be made non-blocking.
    pub fn new(
        reader: FrameReader<Connection>,
        process: Process,
        ends: AgentEnds,
    ) -> Result<Session, Errno> {
        let connection = reader.get_ref().clone();
        streams::set_nonblocking(&connection)?;
        let input = Input::new(ends.input, ends.terminal.is_some());
        let output = Output::new(ends.output, ends.errors);
        Ok(Session {
            reader,
            connection,
            process,
            terminal: ends.terminal,
            input,
            output,
            exited: None,
            lost: false,
        })
    }

    /// Runs to the end of the process and of everything that is to be sent. Returns how the process ended.
    pub fn run(mut self) -> Exited {
        loop {
            if let Some(exited) = self.exited
                && (self.lost || self.output.finish(exited))
            {
                return exited;
            }
            if let Err(loss) = self.turn() {
                self.hang_up(&loss);
            }
        }
    }

    fn turn(&mut self) -> Result<(), Loss> {
        let events = self.wait()?;
        if !events.at(Source::Process).is_empty() {
            self.collect();
        }
        if events
            .at(Source::Connection)
            .intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR)
        {
            self.receive()?;
        }
        self.input.pump(events.at(Source::Input));
        if !self.lost {
            self.output
                .pump(events.at(Source::Output), events.at(Source::Errors));
            self.output.flush(&mut self.connection)?;
            self.output.report_taken(&mut self.input);
            self.output.flush(&mut self.connection)?;
        }
        Ok(())
    }

    /// Waits until there is something to do. A descriptor that nothing is wanted from is left out: poll would report
    /// its hang-up again and again.
    fn wait(&self) -> Result<Events, Errno> {
        let mut sources = Vec::with_capacity(5);
        let mut fds = Vec::with_capacity(5);
        let mut want = |source, fd, flags| {
            sources.push(source);
            fds.push(PollFd::from_borrowed_fd(fd, flags));
        };
        let writing = |wanted| {
            if wanted {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            }
        };
        if self.exited.is_none() {
            want(Source::Process, self.process.pidfd.as_fd(), PollFlags::IN);
        }
        if !self.lost {
            let flags = PollFlags::IN | writing(self.output.is_pending());
            want(Source::Connection, self.connection.as_fd(), flags);
        }
        if let Some(fd) = self.input.wanted() {
            // Without the flag for writing, only the reader's departure is reported.
            want(Source::Input, fd, writing(self.input.has_bytes()));
        }
        if !self.output.is_pending() {
            if let Some(fd) = self.output.standard() {
                want(Source::Output, fd, PollFlags::IN);
            }
            if let Some(fd) = self.output.errors() {
                want(Source::Errors, fd, PollFlags::IN);
            }
        }
        while let Err(errno) = poll(&mut fds, None) {
            if errno != Errno::INTR {
                return Err(errno);
            }
        }
        let mut events = Events([PollFlags::empty(); 5]);
        for (source, fd) in sources.into_iter().zip(&fds) {
            events.0[source as usize] = fd.revents();
        }
        Ok(events)
    }

    /// Takes the process's status, and turns the output to what is left of it.
    fn collect(&mut self) {
        match waitid(
            WaitId::PidFd(self.process.pidfd.as_fd()),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG,
        ) {
            Ok(Some(status)) => {
                let number = |value: Option<i32>| value.and_then(|value| u8::try_from(value).ok());
                let code = number(status.exit_status()).map(Exited::Code);
                let signal = number(status.terminating_signal()).map(Exited::Signal);
                self.exited = code.or(signal);
                self.input.close();
                self.output.drain();
            }
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => {
                log::line(format_args!(
                    "cannot wait for process {}: {errno}",
                    self.process.pid
                ));
                self.exited = Some(Exited::Signal(libc::SIGKILL as u8));
                self.output.drain();
            }
        }
    }

    /// Takes all frames that have arrived.
    fn receive(&mut self) -> Result<(), Loss> {
        loop {
            let frame = match self.reader.next_frame() {
                Ok(Some(frame)) => frame,
                Ok(None) => return Err(Loss::Closed),
                Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            let Some(order) = self.input.take(frame)? else {
                continue;
            };
            match order {
                Order::Resize(size) => {
                    if let Some(terminal) = &self.terminal {
                        // The size of a terminal that is gone is of no interest.
                        let _ = streams::set_size(terminal, size);
                    }
                }
                Order::Signal(number) => {
                    // A process that has ended, or a number that is none, needs no answer.
                    let _ = sys::send_signal(self.process.pidfd.as_fd(), number);
                }
            }
        }
    }

    fn hang_up(&mut self, loss: &Loss) {
        if self.exited.is_none() && !matches!(loss, Loss::Closed) {
            log::line(format_args!(
                "hanging up process {}: {loss}",
                self.process.pid
            ));
        }
        self.lost = true;
        self.input.close();
        self.output.close();
        self.terminal = None;
        let _ = sys::send_signal(self.process.pidfd.as_fd(), libc::SIGHUP as u8);
    }
}

/// What the host wants of the process, beside its input.
#[derive(Debug, Clone, Copy)]
enum Order {
    Resize(WindowSize),
    Signal(u8),
}

impl Input {
    /// Takes one frame; input is kept, the rest is returned.
    fn take(&mut self, frame: Frame<'_>) -> Result<Option<Order>, Loss> {
        match frame.kind {
            Kind::Stdin => self.append(frame.payload)?,
            Kind::StdinEof => self.end(),
            Kind::Resize => return Ok(Some(Order::Resize(frame.message::<WindowSize>()?))),
            Kind::Signal => return Ok(Some(Order::Signal(frame.message::<Signal>()?.number))),
            got => {
                return Err(FrameError::Unexpected {
                    got,
                    wanted: "input, a signal or a size",
                }
                .into());
            }
        }
        Ok(None)
    }
}
