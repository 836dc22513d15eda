//! The streams of a process: pipes, a terminal, or nothing.

use std::os::fd::{AsFd, OwnedFd};

use cenote_protocol::WindowSize;
use rustix::fs::{Mode, OFlags, fchown, fcntl_getfl, fcntl_setfl, open};
use rustix::io::{Result, fcntl_dupfd_cloexec};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::user::Identity;

/// The agent's ends, all non-blocking.
#[derive(Debug, Default)]
pub struct AgentEnds {
    /// Where standard input goes.
    pub input: Option<OwnedFd>,
    /// Where standard output, or all that a terminal shows, comes from.
    pub output: Option<OwnedFd>,
    /// Where standard error comes from.
    pub errors: Option<OwnedFd>,
    /// The terminal's other side, for its size.
    pub terminal: Option<OwnedFd>,
}

/// The process's ends: standard input, output and error.
#[derive(Debug)]
pub struct ProcessEnds {
    /// In the order of their numbers.
    pub fds: [OwnedFd; 3],
    /// Whether they are one terminal, which is to control the process.
    pub terminal: bool,
}

/// Three times /dev/null.
///
/// # Errors
/// Where there is none.
pub fn null() -> Result<(AgentEnds, ProcessEnds)> {
    let ends = ProcessEnds {
        fds: [open_null()?, open_null()?, open_null()?],
        terminal: false,
    };
    Ok((AgentEnds::default(), ends))
}

/// Pipes; standard input is /dev/null unless it is wanted. The pipes belong to the user, so that a process may open
/// them again as /dev/stdout.
///
/// # Errors
/// For want of descriptors or memory.
pub fn pipes(stdin: bool, owner: &Identity) -> Result<(AgentEnds, ProcessEnds)> {
    let (input, process_input) = if stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        own(&read, owner)?;
        set_nonblocking(&write)?;
        (Some(write), read)
    } else {
        (None, open_null()?)
    };
    let (output, process_output) = output_pipe(owner)?;
    let (errors, process_errors) = output_pipe(owner)?;
    let agent = AgentEnds {
        input,
        output: Some(output),
        errors: Some(errors),
        terminal: None,
    };
    Ok((
        agent,
        ProcessEnds {
            fds: [process_input, process_output, process_errors],
            terminal: false,
        },
    ))
}

fn output_pipe(owner: &Identity) -> Result<(OwnedFd, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    own(&write, owner)?;
    set_nonblocking(&read)?;
    Ok((read, write))
}

/// A new terminal of the calling thread's /dev/pts. Without `stdin` nobody types on it.
///
/// # Errors
/// Where no devpts is mounted, or it has no terminal left.
pub fn terminal(
    size: WindowSize,
    stdin: bool,
    owner: &Identity,
) -> Result<(AgentEnds, ProcessEnds)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let master = open("/dev/pts/ptmx", flags, Mode::empty())
        .or_else(|_| open("/dev/ptmx", flags, Mode::empty()))?;
    unlockpt(&master)?;
    set_size(&master, size)?;
    let process = ioctl_tiocgptpeer(
        &master,
        OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC,
    )?;
    own(&process, owner)?;
    let agent = AgentEnds {
        input: stdin.then(|| fcntl_dupfd_cloexec(&master, 0)).transpose()?,
        output: Some(fcntl_dupfd_cloexec(&master, 0)?),
        errors: None,
        terminal: Some(master),
    };
    let fds = [
        fcntl_dupfd_cloexec(&process, 0)?,
        fcntl_dupfd_cloexec(&process, 0)?,
        process,
    ];
    Ok((
        agent,
        ProcessEnds {
            fds,
            terminal: true,
        },
    ))
}

/// Gives a terminal a size; the processes on it are told by SIGWINCH.
///
/// # Errors
/// If `terminal` is none.
pub fn set_size(terminal: impl AsFd, size: WindowSize) -> Result<()> {
    tcsetwinsize(
        terminal,
        Winsize {
            ws_row: size.rows,
            ws_col: size.cols,
            ws_xpixel: 0,
            ws_ypixel: 0,
        },
    )
}

fn open_null() -> Result<OwnedFd> {
    open(
        "/dev/null",
        OFlags::RDWR | OFlags::CLOEXEC | OFlags::NOCTTY,
        Mode::empty(),
    )
}

fn own(fd: &OwnedFd, owner: &Identity) -> Result<()> {
    fchown(fd, Some(rustix::fs::Uid::from_raw(owner.uid)), None)
}

/// Makes calls on `fd` return instead of waiting.
///
/// # Errors
/// As fcntl(2).
pub fn set_nonblocking(fd: impl AsFd) -> Result<()> {
    let fd = fd.as_fd();
    fcntl_setfl(fd, fcntl_getfl(fd)? | OFlags::NONBLOCK)
}
