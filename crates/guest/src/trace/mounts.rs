//! The container's FUSE mounts, as `/proc/PID/mountinfo` lists them (proc_pid_mountinfo(5)).

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};

use cenote_protocol::TracedMount;

/// More mounts than a container is made with; it may have made others.
const MOST: usize = 256;

/// Those in the mount namespace of the process behind `pidfd`; none if it has ended.
pub fn of(pidfd: &OwnedFd) -> Vec<TracedMount> {
    let about = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let pid = about.ok().and_then(|about| {
        let pid = about.lines().find_map(|line| line.strip_prefix("Pid:"))?;
        pid.trim().parse::<u32>().ok()
    });
    let mounts = pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok());
    let mounts = mounts.unwrap_or_default();
    mounts.lines().filter_map(fuse_mount).take(MOST).collect()
}

/// `36 35 0:45 / /data rw,noatime - virtiofs share0 rw`
fn fuse_mount(line: &str) -> Option<TracedMount> {
    let (place, file_system) = line.split_once(" - ")?;
    let mut place = place.split(' ').skip(2);
    let (major, minor) = place.next()?.split_once(':')?;
    let target = place.nth(1)?;
    let mut file_system = file_system.split(' ');
    let kind = file_system.next()?;
    // A file system without a device: its numbers begin with 0.
    let is_fuse = kind == "virtiofs" || kind == "fuse" || kind.starts_with("fuse.");
    (major == "0" && is_fuse).then_some(())?;
    Some(TracedMount {
        connection: minor.parse().ok()?,
        source: file_system.next()?.to_owned(),
        target: target.to_owned(),
    })
}

#[cfg(test)]
#[path = "mounts_test.rs"]
mod tests;
