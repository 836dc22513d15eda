//! Those who wait for a lock of the host, all in one thread, so that they hold none of the threads that serve.

use std::fmt::{Debug, Formatter};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::io::Errno;

use super::locks::Request;

/// Told once: the lock was taken, or it will not be.
pub type WhenGranted = Box<dyn FnOnce(Result<(), Errno>) + Send>;

/// How many may wait: each holds a request of the client.
const WAITING_LIMIT: usize = 1024;
/// How many interrupts are remembered that came before what they interrupt.
const EARLY_LIMIT: usize = 64;
/// A lock that somebody else on the host gives back tells nobody, so it is tried again this often.
const AGAIN: Duration = Duration::from_millis(20);

/// The waiting line.
#[derive(Debug)]
pub struct Waiting {
    line: Arc<Line>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Line {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: Vec<Waiter>,
    early: Vec<u64>,
    woken: bool,
    over: bool,
}

struct Waiter {
    unique: u64,
    request: Request,
    granted: WhenGranted,
}

impl Debug for Waiter {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("unique", &self.unique)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

impl Waiting {
    pub fn start() -> std::io::Result<Waiting> {
        let line = Arc::new(Line::default());
        let theirs = Arc::clone(&line);
        let thread = std::thread::Builder::new()
            .name("fuse-locks".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || theirs.serve())?;
        Ok(Waiting {
            line,
            thread: Some(thread),
        })
    }

    /// Takes the lock now, or as soon as it is free.
    pub(super) fn wait_for(&self, unique: u64, request: Request, granted: WhenGranted) {
        let first = request.attempt();
        if first != Err(Errno::AGAIN) {
            return granted(first);
        }
        let mut state = self.line.lock();
        if let Some(place) = state.early.iter().position(|early| *early == unique) {
            state.early.swap_remove(place);
            drop(state);
            return granted(Err(Errno::INTR));
        }
        if state.waiting.len() >= WAITING_LIMIT {
            drop(state);
            return granted(Err(Errno::NOLCK));
        }
        state.waiting.push(Waiter {
            unique,
            request,
            granted,
        });
        drop(state);
        self.line.changed.notify_one();
    }

    /// Some lock was given back.
    pub fn wake(&self) {
        self.line.lock().woken = true;
        self.line.changed.notify_one();
    }

    /// Request `unique` waits no longer.
    pub fn interrupt(&self, unique: u64) {
        let mut state = self.line.lock();
        let Some(place) = state.waiting.iter().position(|one| one.unique == unique) else {
            if state.early.len() >= EARLY_LIMIT {
                state.early.remove(0);
            }
            state.early.push(unique);
            return;
        };
        let waiter = state.waiting.swap_remove(place);
        drop(state);
        (waiter.granted)(Err(Errno::INTR));
    }

    /// Nobody waits any longer.
    pub fn cancel_all(&self) {
        let waiting = std::mem::take(&mut self.line.lock().waiting);
        for waiter in waiting {
            (waiter.granted)(Err(Errno::INTR));
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.cancel_all();
        self.line.lock().over = true;
        self.line.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

impl Line {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        let mut state = self.lock();
        while !state.over {
            state.woken = false;
            let mut done = Vec::new();
            let mut place = 0;
            while place < state.waiting.len() {
                match state.waiting[place].request.attempt() {
                    Err(Errno::AGAIN) => place += 1,
                    result => done.push((state.waiting.remove(place), result)),
                }
            }
            if !done.is_empty() {
                drop(state);
                for (waiter, result) in done {
                    (waiter.granted)(result);
                }
                state = self.lock();
                continue;
            }
            if state.woken || state.over {
                continue;
            }
            state = if state.waiting.is_empty() {
                self.changed
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed
                    .wait_timeout(state, AGAIN)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0
            };
        }
    }
}
