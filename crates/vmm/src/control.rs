//! Who may run: what the machine's owner wants of its vCPUs, and what they tell back.
//!
//! ```text
//! paused --resume--> running --pause--> paused      (pause returns when every vCPU has left the guest)
//!    |                  |
//!    +------- end ------+--> ended                  (by the owner, or by a vCPU that meets the machine's end)
//! ```
//!
//! A vCPU in the guest is called back by a signal. Its handler sets `immediate_exit` of that vCPU, so that a signal that
//! comes just before KVM_RUN makes KVM_RUN return at once: none is lost.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};

use vmm_sys_util::signal::{SIGRTMIN, register_signal_handler};

use crate::exit::Exit;

/// The state of a machine's run, shared by its owner and its vCPUs.
pub struct Control {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    wanted: Wanted,
    /// The vCPU threads that exist, to be called back.
    threads: Vec<libc::pthread_t>,
    /// How many of them are outside of the guest and stay there.
    parked: usize,
    exit: Option<Exit>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Pause,
    Run,
    End,
}

impl Control {
    /// For a machine that is paused and has no vCPU yet.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                wanted: Wanted::Pause,
                threads: Vec::new(),
                parked: 0,
                exit: None,
            }),
            changed: Condvar::new(),
        }
    }

    /// Waits until `count` vCPUs have taken their seats.
    pub fn seated(&self, count: usize) {
        let mut state = self.lock();
        while state.threads.len() < count {
            state = self.wait_for_change(state);
        }
    }

    /// Lets the vCPUs run. Does nothing once the machine has ended.
    pub fn resume(&self) {
        let mut state = self.lock();
        if state.wanted == Wanted::Pause {
            state.wanted = Wanted::Run;
            self.changed.notify_all();
        }
    }

    /// Calls all vCPUs out of the guest, and returns when they are. Returns whether it is so: not once the machine has
    /// ended.
    pub fn pause(&self) -> bool {
        let mut state = self.lock();
        if state.wanted != Wanted::End {
            state.wanted = Wanted::Pause;
            state.kick();
        }
        while state.wanted == Wanted::Pause && state.parked < state.threads.len() {
            state = self.wait_for_change(state);
        }
        state.wanted == Wanted::Pause
    }

    /// Ends the machine; the first reason given is the one that stays.
    pub fn end(&self, exit: Exit) {
        let mut state = self.lock();
        state.exit.get_or_insert(exit);
        state.wanted = Wanted::End;
        state.kick();
        self.changed.notify_all();
    }

    /// Waits until the machine has ended and no vCPU thread is left.
    pub fn wait(&self) -> Exit {
        let mut state = self.lock();
        loop {
            if let Some(exit) = &state.exit
                && state.threads.is_empty()
            {
                return exit.clone();
            }
            state = self.wait_for_change(state);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_for_change<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn kick(&self) {
        for &thread in &self.threads {
            // SAFETY: a thread is in the list from its beginning until just before its end, both under this lock, so
            // it exists.
            unsafe { libc::pthread_kill(thread, signal()) };
        }
    }
}

/// A vCPU thread's side. Made on the thread itself; dropping it says that the thread is about to end.
pub struct Seat<'a> {
    control: &'a Control,
}

impl<'a> Seat<'a> {
    /// Takes part. `immediate_exit` is the field of that name of this thread's vCPU, which outlives the seat.
    pub fn take(control: &'a Control, immediate_exit: *mut u8) -> Self {
        IMMEDIATE_EXIT.set(immediate_exit);
        let mut state = control.lock();
        // SAFETY: it only tells which thread this is.
        state.threads.push(unsafe { libc::pthread_self() });
        control.changed.notify_all();
        Self { control }
    }

    /// Waits while the machine is paused. Returns whether to run: `false` when it has ended.
    pub fn may_run(&self) -> bool {
        let mut state = self.control.lock();
        if state.wanted == Wanted::Pause {
            state.parked += 1;
            self.control.changed.notify_all();
            while state.wanted == Wanted::Pause {
                state = self.control.wait_for_change(state);
            }
            state.parked -= 1;
        }
        state.wanted == Wanted::Run
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        IMMEDIATE_EXIT.set(ptr::null_mut());
        let mut state = self.control.lock();
        // SAFETY: as in `take`.
        let this = unsafe { libc::pthread_self() };
        state.threads.retain(|&thread| thread != this);
        // A thread that panics takes the machine with it instead of leaving its owner waiting.
        if std::thread::panicking() {
            state
                .exit
                .get_or_insert(Exit::Crashed(crate::Crash::Defect));
            state.wanted = Wanted::End;
            state.kick();
        }
        self.control.changed.notify_all();
    }
}

thread_local! {
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(ptr::null_mut()) };
}

/// The signal that calls a vCPU back. Not the first real-time signal, which the probe of KVM uses.
fn signal() -> libc::c_int {
    SIGRTMIN() + 1
}

/// Installs the handler, once in a process.
pub fn install_handler() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut result = Ok(());
    ONCE.call_once(|| {
        result = register_signal_handler(signal(), on_kick)
            .map_err(|error| io::Error::from_raw_os_error(error.errno()));
    });
    result
}

extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    let immediate_exit = IMMEDIATE_EXIT.get();
    if !immediate_exit.is_null() {
        // SAFETY: a seat has been taken with this pointer and not been left, so that the byte is there; the kernel and
        // this thread are the only others that access it, and a byte is written whole.
        unsafe { AtomicU8::from_ptr(immediate_exit) }.store(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "control_test.rs"]
mod tests;
