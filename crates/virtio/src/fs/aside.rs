//! Chains that are answered later, by another thread than the queue's.
//!
//! The thread that has the answer leaves it here and rings a bell; the queue's thread gives the chain back, since it alone
//! touches the ring. While the device is paused answers wait here.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cenote_fuse::server::Later;
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;

use crate::queue::Chain;

/// The chains of one queue, from the driver's set-up of the device to its reset.
pub struct Aside {
    state: Mutex<State>,
    bell: OwnedFd,
}

#[derive(Default)]
struct State {
    /// Chains without an answer and the numbers that their replies repeat, by numbers of their own: a hostile driver gives
    /// several the same `unique`. There are as many as the server lets wait for locks.
    waiting: BTreeMap<u64, (u64, Chain)>,
    next: u64,
    answered: Vec<Answered>,
}

/// A chain with its answer.
pub struct Answered {
    /// The number that the reply repeats.
    pub unique: u64,
    /// Where the reply goes.
    pub chain: Chain,
    /// How the request ended.
    pub result: Result<(), Errno>,
}

impl Aside {
    /// No chains yet.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            state: Mutex::default(),
            bell: eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?,
        }))
    }

    /// Becomes readable when there are answers.
    pub fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Keeps the chain of request `unique`; its number here.
    pub fn keep(&self, unique: u64, chain: Chain) -> u64 {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        state.waiting.insert(number, (unique, chain));
        number
    }

    /// Forgets a chain that is answered elsewhere; `false` if it was answered here already.
    pub fn take_back(&self, number: u64) -> bool {
        self.lock().waiting.remove(&number).is_some()
    }

    /// Adds a chain with its answer.
    pub fn answer(&self, answered: Answered) {
        self.lock().answered.push(answered);
        self.ring();
    }

    /// What can be given back to the driver now.
    pub fn answered(&self) -> Vec<Answered> {
        mem::take(&mut self.lock().answered)
    }

    /// The chains that were not given back, each with the number that its reply repeats.
    pub fn under_way(&self) -> Vec<(u64, Chain)> {
        let state = self.lock();
        let answered = state.answered.iter();
        let answered = answered.map(|one| (one.unique, one.chain.clone()));
        state.waiting.values().cloned().chain(answered).collect()
    }

    fn ring(&self) {
        // Fails only when the counter is full, and then the bell rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reply to a chain that is kept.
pub struct LaterReply {
    /// Where it is kept.
    pub aside: Arc<Aside>,
    /// Its number there.
    pub number: u64,
}

impl Later for LaterReply {
    fn send(self: Box<Self>, unique: u64, result: Result<(), Errno>) {
        let mut state = self.aside.lock();
        if let Some((_, chain)) = state.waiting.remove(&self.number) {
            state.answered.push(Answered {
                unique,
                chain,
                result,
            });
            drop(state);
            self.aside.ring();
        }
    }
}
