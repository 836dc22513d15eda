//! What a command costs: the time that its user waits, and the processor time that it and its children take.

use std::mem::MaybeUninit;
use std::process::{Command, Output};
use std::time::Instant;

use anyhow::{Context, bail};

use crate::series::Series;

/// What one command took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    /// Seconds from its start to its exit code.
    pub wall: f64,
    /// Processor seconds, user and system, of it and of all descendants that were waited for.
    pub cpu: f64,
}

/// Runs `command` to its end, which must be a success. Only one command may run at a time, because the kernel counts
/// processor time for all ended children together.
///
/// # Errors
/// When the command cannot be started or fails; what it said is in the error.
pub fn of(command: &mut Command) -> anyhow::Result<(Cost, Output)> {
    let before = children_cpu();
    let begun = Instant::now();
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    let wall = begun.elapsed().as_secs_f64();
    if !output.status.success() {
        bail!(
            "{command:?} failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok((
        Cost {
            wall,
            cpu: children_cpu() - before,
        },
        output,
    ))
}

/// The wall times and the processor times of `costs`.
pub fn series(costs: &[Cost]) -> (Series, Series) {
    let pick = |field: fn(&Cost) -> f64| Series::new(costs.iter().map(field).collect());
    (pick(|cost| cost.wall), pick(|cost| cost.cpu))
}

/// Processor seconds of all children that have ended and been waited for, and of theirs.
fn children_cpu() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid for a write of a whole `rusage`, and the call keeps no copy of it.
    let status = unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr()) };
    assert_eq!(
        status, 0,
        "getrusage fails only for arguments that do not exist"
    );
    // SAFETY: all bytes were zeroed, which is a valid `rusage`, and the call has filled it in.
    let usage = unsafe { usage.assume_init() };
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn seconds(time: libc::timeval) -> f64 {
    time.tv_sec as f64 + time.tv_usec as f64 / 1e6
}

#[cfg(test)]
#[path = "cost_test.rs"]
mod tests;
