//! The machine around the container: the kernel's file systems, the clock, the kernel settings.

use std::ffi::CStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use cenote_protocol::Sysctl;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};

use crate::step::{Step, StepError};
use crate::sys;

/// How many files a process may have open, unless its request says otherwise: podman's figure, and the kernel's
/// ceiling (`fs.nr_open`).
const MAX_OPEN_FILES: u64 = 1 << 20;

/// Where control groups are mounted.
const CONTROL_GROUPS: &str = "/sys/fs/cgroup";

const HARDENED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Mounts /proc, /sys, /dev and /dev/pts of the machine itself.
///
/// # Errors
/// When the kernel lacks one of them.
pub fn mount_kernel_file_systems() -> Result<(), StepError> {
    let table: [(&CStr, &CStr, MountFlags, Option<&CStr>); 5] = [
        (c"proc", c"/proc", HARDENED, None),
        (c"sysfs", c"/sys", HARDENED, None),
        (c"devtmpfs", c"/dev", MountFlags::NOSUID, Some(c"mode=0755")),
        (
            c"devpts",
            c"/dev/pts",
            MountFlags::NOSUID.union(MountFlags::NOEXEC),
            Some(c"mode=0620,gid=5,ptmxmode=0666"),
        ),
        (
            c"tmpfs",
            c"/run",
            MountFlags::NOSUID.union(MountFlags::NODEV),
            Some(c"mode=0755"),
        ),
    ];
    for (kind, at, flags, options) in table {
        make_directory(at)?;
        match mount(kind, at, kind, flags, options) {
            // The kernel may have mounted /dev by itself.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => return Err(errno).step("mount the file system on", at.to_string_lossy()),
        }
    }
    Ok(())
}

/// Makes the control group of the container, where the kernel has control groups. Without one, containers have none
/// to see either.
pub fn make_control_group() -> Option<OwnedFd> {
    let group = Path::new(CONTROL_GROUPS).join("container");
    mount("cgroup2", CONTROL_GROUPS, "cgroup2", HARDENED, None).ok()?;
    fs::create_dir(&group).ok()?;
    open(
        &group,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .ok()
}

fn make_directory(at: &CStr) -> Result<(), StepError> {
    match rustix::fs::mkdir(at, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno).step("make the directory", at.to_string_lossy()),
    }
}

/// Raises the limit of open files for the agent and all that it starts.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_limits() -> Result<(), StepError> {
    sys::set_rlimit(libc::RLIMIT_NOFILE, MAX_OPEN_FILES, MAX_OPEN_FILES)
        .step("raise the limit of", "open files")
}

/// Nanoseconds since the kernel started.
pub fn boot_time_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Boottime))
}

/// What `CLOCK_MONOTONIC` says, in nanoseconds: the clock of trace events.
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

fn nanoseconds(time: Timespec) -> u64 {
    (time.tv_sec as u64)
        .saturating_mul(1_000_000_000)
        .saturating_add(time.tv_nsec as u64)
}

/// Sets the wall clock to `ns` nanoseconds since 1970.
///
/// # Errors
/// When the kernel refuses the time.
pub fn set_clock(ns: u64) -> Result<(), StepError> {
    let time = Timespec {
        tv_sec: (ns / 1_000_000_000) as i64,
        tv_nsec: (ns % 1_000_000_000) as i64,
    };
    clock_settime(ClockId::Realtime, time).step("set the clock to", format_args!("{ns} ns"))
}

/// Applies kernel settings in order.
///
/// # Errors
/// On the first setting that does not exist or refuses its value.
pub fn apply_sysctls(settings: &[Sysctl]) -> Result<(), StepError> {
    for setting in settings {
        fs::write(sysctl_path(&setting.name)?, &setting.value)
            .step("set the kernel setting", &setting.name)?;
    }
    Ok(())
}

/// The file behind a name such as `net.ipv4.ip_forward`. As in sysctl(8), a slash in the name stands for a dot in a
/// part of it, as in `net.ipv4.conf.eth0/1.forwarding`.
fn sysctl_path(name: &str) -> Result<String, StepError> {
    let path = name
        .chars()
        .map(|c| match c {
            '.' => '/',
            '/' => '.',
            c => c,
        })
        .collect::<String>();
    let plain = !path.is_empty() && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if plain {
        Ok(format!("/proc/sys/{path}"))
    } else {
        Err(Errno::INVAL).step("find the kernel setting", name)
    }
}

#[cfg(test)]
#[path = "machine_test.rs"]
mod tests;
