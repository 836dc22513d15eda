//! The user's terminal: raw while a container's terminal is shown in it, restored whatever happens, and the
//! signals and window changes that travel into the container.

pub mod raw;
pub mod relay;

use std::os::fd::BorrowedFd;

use cenote_protocol::WindowSize;
use rustix::termios;

/// The terminal whose size counts: standard output's, else standard input's.
pub fn of_caller() -> Option<BorrowedFd<'static>> {
    let ends = [rustix::stdio::stdout(), rustix::stdio::stdin()];
    ends.into_iter().find(|end| termios::isatty(end))
}

/// The size of the caller's terminal, which a container's has before anything runs there; without one, an ordinary size.
pub fn window_size() -> WindowSize {
    let size = of_caller().and_then(|terminal| termios::tcgetwinsize(terminal).ok());
    match size {
        Some(size) if size.ws_row > 0 && size.ws_col > 0 => WindowSize {
            rows: size.ws_row,
            cols: size.ws_col,
        },
        _ => WindowSize { rows: 24, cols: 80 },
    }
}
