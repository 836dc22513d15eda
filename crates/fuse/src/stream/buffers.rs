//! Room for long messages, shared by those who need it at the same time.

use std::sync::{Condvar, Mutex, PoisonError};

/// How many long messages are in work at once: each keeps a processor busy copying.
const LARGE: usize = 3;

/// Large buffers that are lent.
#[derive(Debug)]
pub struct Buffers {
    size: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<Box<[u8]>>,
    made: usize,
}

impl Buffers {
    /// Buffers of `size` bytes, made when they are first needed.
    pub fn new(size: usize) -> Buffers {
        Buffers {
            size,
            state: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Waits for a buffer.
    pub fn lend(&self) -> Lent<'_> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(bytes) = state.free.pop() {
                return Lent { bytes, from: self };
            }
            if state.made < LARGE {
                state.made += 1;
                let bytes = vec![0; self.size].into_boxed_slice();
                return Lent { bytes, from: self };
            }
            state = self
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// A buffer, until it is dropped.
#[derive(Debug)]
pub struct Lent<'a> {
    pub bytes: Box<[u8]>,
    from: &'a Buffers,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let mut state = self
            .from
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        state.free.push(bytes);
        drop(state);
        self.from.returned.notify_one();
    }
}
