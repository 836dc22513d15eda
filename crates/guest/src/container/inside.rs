//! What only the container's first process can mount, as it depends on its namespaces: /proc, and over it what podman
//! hides or protects, and its control group. System calls only (see [`crate::child`]).

use std::ffi::CStr;

use rustix::fs::{AtFlags, CWD, FileType, statat};
use rustix::io::{Errno, Result};
use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive, mount_remount};

use crate::sys;

const HARDENED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// Hidden: a file by /dev/null, a directory by an empty file system.
const MASKED: [&CStr; 10] = [
    c"/proc/acpi",
    c"/proc/asound",
    c"/proc/kcore",
    c"/proc/keys",
    c"/proc/latency_stats",
    c"/proc/sched_debug",
    c"/proc/scsi",
    c"/proc/timer_list",
    c"/proc/timer_stats",
    c"/sys/firmware",
];

/// Readable only.
const PROTECTED: [&CStr; 5] = [
    c"/proc/bus",
    c"/proc/fs",
    c"/proc/irq",
    c"/proc/sys",
    c"/proc/sysrq-trigger",
];

/// Mounts and hides; with `cgroup`, also the control group that the process began in.
///
/// # Errors
/// What the kernel refuses; a path that this kernel does not have is passed over.
pub fn mount_inside(cgroup: bool) -> Result<()> {
    if cgroup {
        sys::unshare_cgroup()?;
        let flags = HARDENED | MountFlags::RDONLY;
        mount(
            c"cgroup2",
            c"/sys/fs/cgroup",
            c"cgroup2",
            flags,
            None::<&CStr>,
        )?;
    }
    mount(c"proc", c"/proc", c"proc", HARDENED, None::<&CStr>)?;
    for path in MASKED {
        if_present(mask(path))?;
    }
    for path in PROTECTED {
        if_present(protect(path))?;
    }
    Ok(())
}

fn mask(path: &CStr) -> Result<()> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        mount(
            c"tmpfs",
            path,
            c"tmpfs",
            HARDENED | MountFlags::RDONLY,
            Some(c"size=0,nr_inodes=1"),
        )
    } else {
        mount_bind(c"/dev/null", path)
    }
}

fn protect(path: &CStr) -> Result<()> {
    mount_bind_recursive(path, path)?;
    mount_remount(path, MountFlags::BIND | MountFlags::RDONLY | HARDENED, c"")
}

fn if_present(result: Result<()>) -> Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => other,
    }
}
