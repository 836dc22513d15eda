//! How long a thread is in the host's file system, measured for those requests that are traced.

use std::cell::Cell;
use std::time::{Duration, Instant};

thread_local! {
    /// What was measured for the request in work, if it is traced.
    static SPENT: Cell<Option<Duration>> = const { Cell::new(None) };
}

/// The calling thread begins a request that is traced.
pub(crate) fn begin() {
    SPENT.set(Some(Duration::ZERO));
}

/// It has ended it; the time in [`call`]s since then, zero for a request that is not traced.
pub(crate) fn end() -> Duration {
    SPENT.take().unwrap_or_default()
}

/// Makes a system call on what is shared.
#[inline]
pub(crate) fn call<T>(call: impl FnOnce() -> T) -> T {
    let Some(before) = SPENT.get() else {
        return call();
    };
    let begun = Instant::now();
    let result = call();
    SPENT.set(Some(before + begun.elapsed()));
    result
}
