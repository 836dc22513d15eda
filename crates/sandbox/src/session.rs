//! One process in the guest, seen from the host: a vsock connection with its streams.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use cenote_protocol::{
    EXEC_PORT, ExecRequest, Exited, FrameError, FrameReader, HandshakeError, Kind, MAX_CHUNK,
    Refused, Side, Signal, Started, StdinTaken, StdinWindow, WindowSize, handshake, write_frame,
    write_message,
};
use cenote_virtio::vsock;
use rustix::event::{PollFd, PollFlags};

use crate::log::Stream;

/// The local ends of a process's streams, and what else its user does to it.
#[derive(Debug)]
pub struct Stdio {
    /// Read until its end; closed from the beginning when there is none.
    pub stdin: Option<OwnedFd>,
    /// Gets standard output, and everything from a terminal.
    pub stdout: OwnedFd,
    /// Gets standard error.
    pub stderr: OwnedFd,
    /// Signals and window sizes.
    pub controls: Receiver<Control>,
}

/// What a user does to a process beside typing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The terminal has a new size.
    Resize {
        /// Lines.
        rows: u16,
        /// Characters in a line.
        columns: u16,
    },
    /// A signal by its number.
    Signal(i32),
}

/// Why a process did not start, or was lost.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The guest is not there or does not take the call.
    #[error(transparent)]
    Connect(#[from] cenote_virtio::vsock::ConnectError),
    /// Host and guest do not understand each other.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The connection broke, or the guest said what it must not.
    #[error("lost the connection to the guest: {0}")]
    Frame(#[from] FrameError),
    /// The guest ended before the process did.
    #[error("the guest ended before the process did")]
    Ended,
    /// The guest refused to start the process.
    #[error("{}", .0.message)]
    Refused(Refused),
    /// The local end of a stream failed.
    #[error("cannot pass on the process's streams: {0}")]
    Local(#[from] io::Error),
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Session {
    frames: FrameReader<UnixStream>,
    input: Input,
}

/// The sending half, shared by the threads that have something to say.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    stream: Arc<Mutex<UnixStream>>,
    window: Arc<StdinWindow>,
}

/// Takes a process's output.
pub(crate) trait Output {
    /// Gets bytes of one stream, in the order in which the process wrote them.
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()>;
}

impl Session {
    /// Asks the guest behind the vsock socket at `path` for a process, and waits until it runs.
    pub fn start(path: &Path, request: &ExecRequest) -> Result<Self, Error> {
        let mut stream = vsock::connect(path, EXEC_PORT)?;
        handshake(&mut stream, Side::Host)?;
        write_message(&mut stream, request)?;
        let mut frames = FrameReader::new(stream.try_clone()?);
        let answer = frames.next_frame()?.ok_or(Error::Ended)?;
        if answer.kind == Kind::Refused {
            return Err(Error::Refused(answer.message()?));
        }
        answer.message::<Started>()?;
        let input = Input {
            stream: Arc::new(Mutex::new(stream)),
            window: Arc::default(),
        };
        Ok(Self { frames, input })
    }

    /// The sending half.
    pub fn input(&self) -> Input {
        self.input.clone()
    }

    /// Passes output on until the process has ended.
    pub fn run(mut self, output: &mut dyn Output) -> Result<Exited, Error> {
        let ended = self.receive(output);
        self.input.window.close();
        ended
    }

    fn receive(&mut self, output: &mut dyn Output) -> Result<Exited, Error> {
        loop {
            let frame = self.frames.next_frame()?.ok_or(Error::Ended)?;
            match frame.kind {
                Kind::Stdout => output.write(Stream::Stdout, frame.payload)?,
                Kind::Stderr => output.write(Stream::Stderr, frame.payload)?,
                Kind::StdinTaken => {
                    let taken = frame.message::<StdinTaken>()?;
                    self.input
                        .window
                        .taken(taken.bytes)
                        .map_err(|error| io::Error::other(error.to_string()))?;
                }
                _ => return Ok(frame.message()?),
            }
        }
    }
}

impl Input {
    /// Passes a signal or a window size on.
    pub fn control(&self, control: Control) -> Result<(), FrameError> {
        let mut stream = self.stream.lock().unwrap_or_else(PoisonError::into_inner);
        match control {
            Control::Resize { rows, columns } => write_message(
                &mut *stream,
                &WindowSize {
                    rows,
                    cols: columns,
                },
            ),
            Control::Signal(number) => match u8::try_from(number) {
                Ok(number) => write_message(&mut *stream, &Signal { number }),
                Err(_) => Ok(()),
            },
        }
    }

    fn send(&self, kind: Kind, bytes: &[u8]) -> Result<(), FrameError> {
        write_frame(
            &mut *self.stream.lock().unwrap_or_else(PoisonError::into_inner),
            kind,
            bytes,
        )
    }

    /// Passes `stdin` on in a thread of its own, until its end or until [`Feeder`] is dropped.
    pub fn feed(&self, stdin: OwnedFd) -> io::Result<Feeder> {
        let (stop, stopper) = io::pipe()?;
        let input = self.clone();
        // A process that no longer listens is no failure: its exit is on its way.
        thread::spawn(move || drop(input.pump(File::from(stdin), &stop)));
        Ok(Feeder { _stopper: stopper })
    }

    fn pump(&self, mut stdin: File, stop: &PipeReader) -> Result<(), Error> {
        let mut buffer = vec![0; MAX_CHUNK];
        while let Some(room) = self.window.wait() {
            if !readable(&stdin, stop)? {
                return Ok(());
            }
            let most = MAX_CHUNK.min(usize::try_from(room).unwrap_or(MAX_CHUNK));
            let count = match stdin.read(&mut buffer[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal that is gone reads as an error; for the process that is the end of its input.
                Err(_) | Ok(0) => break,
                Ok(count) => count,
            };
            self.window.spend(u32::try_from(count).unwrap_or(u32::MAX));
            self.send(Kind::Stdin, &buffer[..count])?;
        }
        Ok(self.send(Kind::StdinEof, &[])?)
    }
}

/// Keeps a thread reading standard input; dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Feeder {
    _stopper: PipeWriter,
}

/// Waits until `stdin` has something, or answers `false` when it is time to stop.
fn readable(stdin: &File, stop: &PipeReader) -> io::Result<bool> {
    loop {
        let mut watched = [
            PollFd::new(stdin, PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match rustix::event::poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if !watched[1].revents().is_empty() => return Ok(false),
            Ok(_) => return Ok(true),
        }
    }
}

/// Writes everything to a descriptor that may be non-blocking, as a terminal shared with other programs can be.
pub(crate) fn write_all(to: impl AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(&to, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                rustix::event::poll(&mut [PollFd::new(&to, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
