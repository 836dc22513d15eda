//! Signals and window changes on their way from this process into the container.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::JoinHandle;
use std::{io, thread};

use cenote_sandbox::Control;
use rustix::termios;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::{Handle, Signals};

/// What ends a process by default and what programs use among themselves: the container decides what they mean.
const FORWARDED: [i32; 6] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2];

/// Catches signals while it lives. Without one in place they do to this process what they always do.
#[derive(Debug)]
pub struct Relay {
    handle: Handle,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts to catch signals; what is to reach the container comes out of the receiver. `window` is the terminal
    /// whose size the container's terminal follows; its present size comes first.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn start(window: Option<OwnedFd>) -> io::Result<(Self, Receiver<Control>)> {
        let mut signals = Signals::new(FORWARDED.iter().chain(window.as_ref().map(|_| &SIGWINCH)))?;
        let handle = signals.handle();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("signals".to_owned())
            .spawn(move || {
                if let Some(window) = &window {
                    resize(window, &sender);
                }
                for signal in signals.forever() {
                    match (signal, &window) {
                        (SIGWINCH, Some(window)) => resize(window, &sender),
                        (number, _) => {
                            // Nobody listens any more: the container has ended, and this process is about to.
                            let _ = sender.send(Control::Signal(number));
                        }
                    }
                }
            })?;
        Ok((
            Self {
                handle,
                thread: Some(thread),
            },
            receiver,
        ))
    }
}

fn resize(window: impl AsFd, sender: &Sender<Control>) {
    if let Ok(size) = termios::tcgetwinsize(window) {
        let _ = sender.send(Control::Resize {
            rows: size.ws_row,
            columns: size.ws_col,
        });
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.handle.close();
        if let Some(thread) = self.thread.take() {
            // A panic in the thread has been reported by itself.
            let _ = thread.join();
        }
    }
}
