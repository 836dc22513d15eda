//! Standard input on its way to the process.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use cenote_protocol::STDIN_WINDOW;
use rustix::event::PollFlags;
use rustix::io::{Errno, write};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

use super::Loss;

/// What the host has sent and the process has not taken.
#[derive(Debug)]
pub(super) struct Input {
    to: Option<OwnedFd>,
    terminal: bool,
    held: VecDeque<u8>,
    /// Taken by the process, not yet reported to the host.
    taken: u32,
    ended: bool,
    /// Whether the terminal's present line is empty, so that one end-of-file character ends the input.
    at_line_start: bool,
}

impl Input {
    pub(super) fn new(to: Option<OwnedFd>, terminal: bool) -> Input {
        Input {
            to,
            terminal,
            held: VecDeque::new(),
            taken: 0,
            ended: false,
            at_line_start: true,
        }
    }

    /// Keeps bytes for the process. Those for a process that takes no input count as taken.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), Loss> {
        let outstanding = self.held.len() + self.taken as usize + bytes.len();
        if outstanding > STDIN_WINDOW as usize {
            return Err(Loss::WindowExceeded);
        }
        if self.to.is_some() {
            self.held.extend(bytes);
        } else {
            // At most the window, so it fits.
            self.taken += bytes.len() as u32;
        }
        Ok(())
    }

    /// Notes that nothing more will come.
    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// The descriptor to be watched.
    pub(super) fn wanted(&self) -> Option<BorrowedFd<'_>> {
        // A terminal without bytes to write has nothing to tell: its hang-up is seen on the output.
        self.to
            .as_ref()
            .filter(|_| !self.terminal || self.has_bytes())
            .map(AsFd::as_fd)
    }

    pub(super) fn has_bytes(&self) -> bool {
        !self.held.is_empty()
    }

    /// Gives the process what it takes now, and ends the input when all is given.
    pub(super) fn pump(&mut self, events: PollFlags) {
        let Some(to) = &self.to else { return };
        if events.intersects(PollFlags::ERR | PollFlags::HUP) {
            return self.close();
        }
        if events.contains(PollFlags::OUT) {
            match write(to, self.held.as_slices().0) {
                Ok(count) => self.drop_front(count),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(_) => return self.close(),
            }
        }
        if self.ended && self.held.is_empty() {
            self.finish();
        }
    }

    fn drop_front(&mut self, count: usize) {
        if let Some(last) = count.checked_sub(1).and_then(|last| self.held.get(last)) {
            self.at_line_start = matches!(last, b'\n' | b'\r');
        }
        self.held.drain(..count);
        self.taken += count as u32;
    }

    fn finish(&mut self) {
        if let Some(to) = self.to.take()
            && self.terminal
        {
            type_end_of_file(&to, self.at_line_start);
        }
    }

    /// Gives up: the process takes no more input.
    pub(super) fn close(&mut self) {
        self.to = None;
        self.taken += self.held.len() as u32;
        self.held.clear();
    }

    /// How many bytes to report as taken; they count as reported.
    pub(super) fn report(&mut self) -> u32 {
        std::mem::take(&mut self.taken)
    }
}

/// Types the end-of-file character where the terminal has one in use. Within a line the first one only hands over
/// what was typed, so it takes two.
fn type_end_of_file(terminal: &OwnedFd, at_line_start: bool) {
    let Ok(settings) = tcgetattr(terminal) else {
        return;
    };
    if settings.local_modes.contains(LocalModes::ICANON) {
        let end = [settings.special_codes[SpecialCodeIndex::VEOF]; 2];
        // A terminal that takes no more bytes has a reader that will not look for an end either.
        let _ = write(terminal, &end[usize::from(at_line_start)..]);
    }
}
