//! The container's /dev.

use std::ffi::CStr;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};
use rustix::process::umask;

use crate::step::{Step, StepError};

const NO_SUID_NO_EXEC: MountFlags = MountFlags::NOSUID.union(MountFlags::NOEXEC);

/// Character devices that every container has: name, major and minor number (`devices.txt` of the kernel).
const DEVICES: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// What virtual machines of the container's own need: the processor's virtualization, and network interfaces.
const FOR_MACHINES: [(&str, u32, u32); 2] = [("kvm", 10, 232), ("net/tun", 10, 200)];

/// Mounts and fills /dev of the calling thread's root, with `machines` also for one that runs virtual machines.
///
/// # Errors
/// What the kernel refuses.
pub fn mount_dev(shm_bytes: u64, machines: bool) -> Result<(), StepError> {
    let old = umask(Mode::empty());
    let result = fill(shm_bytes, machines);
    umask(old);
    result
}

fn fill(shm_bytes: u64, machines: bool) -> Result<(), StepError> {
    let dev = Path::new("/dev");
    let strict = MountFlags::NOSUID | MountFlags::STRICTATIME;
    mount_at("tmpfs", dev, strict, c"mode=755,size=65536k")?;
    for (name, major, minor) in DEVICES {
        make_device(&dev.join(name), major, minor)?;
    }
    if machines {
        rustix::fs::mkdir(dev.join("net"), Mode::from_raw_mode(0o755))
            .step("make the directory", "/dev/net")?;
        for (name, major, minor) in FOR_MACHINES {
            make_device(&dev.join(name), major, minor)?;
        }
    }
    for (name, target) in LINKS {
        symlink(target, dev.join(name)).step("link", name)?;
    }
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        rustix::fs::mkdir(dev.join(name), Mode::from_raw_mode(mode))
            .step("make the directory /dev/", name)?;
    }
    mount_at(
        "devpts",
        &dev.join("pts"),
        NO_SUID_NO_EXEC,
        c"newinstance,ptmxmode=0666,mode=0620,gid=5",
    )?;
    let shm = std::ffi::CString::new(format!("mode=1777,size={shm_bytes}")).unwrap_or_default();
    mount_at(
        "tmpfs",
        &dev.join("shm"),
        NO_SUID_NO_EXEC | MountFlags::NODEV,
        &shm,
    )?;
    match mount_at(
        "mqueue",
        &dev.join("mqueue"),
        NO_SUID_NO_EXEC | MountFlags::NODEV,
        c"",
    ) {
        // A kernel without message queues runs most programs.
        Err(StepError {
            errno: Errno::NODEV,
            ..
        }) => Ok(()),
        other => other,
    }
}

fn make_device(path: &Path, major: u32, minor: u32) -> Result<(), StepError> {
    mknodat(
        CWD,
        path,
        FileType::CharacterDevice,
        Mode::from_raw_mode(0o666),
        makedev(major, minor),
    )
    .step("make the device", path.display())
}

fn mount_at(kind: &str, at: &Path, flags: MountFlags, options: &CStr) -> Result<(), StepError> {
    mount(kind, at, kind, flags, Some(options)).step("mount the file system on", at.display())
}
