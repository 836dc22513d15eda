//! Waits for a device of the machine to appear.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::{Errno, Result};
use rustix::net::{
    AddressFamily, RecvFlags, SocketFlags, SocketType, bind, netlink, recv, socket_with,
};

use crate::step::{Step, StepError};

/// After this long a device is taken as missing. Finding one takes milliseconds, or a second where the processor is
/// emulated on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// The multicast group of the kernel's own device events (`NETLINK_KOBJECT_UEVENT`, netlink(7)).
const KERNEL_EVENTS: u32 = 1;

/// Waits until the block device `name` can be opened, and returns its path. Each event of the kernel about any
/// device is an occasion to try again; nothing is polled in between.
///
/// # Errors
/// `ETIMEDOUT` when the device does not appear.
pub fn wait_for(name: &str) -> std::result::Result<PathBuf, StepError> {
    let path = Path::new("/dev").join(name);
    wait_until_open(&path).step("find the device", path.display())?;
    Ok(path)
}

fn wait_until_open(path: &Path) -> Result<()> {
    if can_open(path)? {
        return Ok(());
    }
    // From here on no event is lost, so the first look below cannot come too early.
    let events = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        Some(netlink::KOBJECT_UEVENT),
    )?;
    bind(&events, &netlink::SocketAddrNetlink::new(0, KERNEL_EVENTS))?;
    let deadline = Instant::now() + PATIENCE;
    while !can_open(path)? {
        let left = deadline
            .checked_duration_since(Instant::now())
            .ok_or(Errno::TIMEDOUT)?;
        let timeout = Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        poll(&mut [PollFd::new(&events, PollFlags::IN)], Some(&timeout))?;
        // What an event says is of no interest, and a lost one (ENOBUFS) is as good as a received one.
        let mut event = [0u8; 2048];
        while !matches!(
            recv(&events, &mut event[..], RecvFlags::empty()),
            Err(Errno::AGAIN)
        ) {}
    }
    Ok(())
}

/// Whether the device exists and its driver is ready.
fn can_open(path: &Path) -> Result<bool> {
    match open(
        path,
        OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    ) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(false),
        Err(errno) => Err(errno),
    }
}
