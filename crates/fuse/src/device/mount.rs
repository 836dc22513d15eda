//! The mount, and descriptors of `/dev/fuse` that belong to it.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

use super::MountError;

/// `FUSE_DEV_IOC_CLONE`: makes a descriptor read the requests of another one's mount.
const CLONE: libc::Ioctl = 0x8004_e500u32 as libc::Ioctl;

/// A mount of the host's.
#[derive(Debug)]
pub struct Mount {
    device: Arc<OwnedFd>,
    point: PathBuf,
}

impl Mount {
    /// Mounts on `point`.
    pub fn new(point: &Path) -> Result<Mount, MountError> {
        let device = attach(point, MountFlags::NOSUID | MountFlags::NODEV)?;
        Ok(Mount {
            device: Arc::new(device),
            point: point.to_owned(),
        })
    }

    /// The descriptor of reader `number`: each has one of its own, so that they do not wait for each other.
    pub fn device(&self, number: usize) -> Result<Arc<OwnedFd>, MountError> {
        if number == 0 {
            return Ok(Arc::clone(&self.device));
        }
        another(&self.device).map(Arc::new)
    }

    /// Unmounts; its readers end. Whoever still uses a file of it gets errors from then on.
    pub fn end(&self) {
        let unmount = |flags| rustix::mount::unmount(&self.point, flags);
        let ended = match unmount(UnmountFlags::empty()) {
            // Forced, because the readers would otherwise wait for whoever has a file open.
            Err(Errno::BUSY) => unmount(UnmountFlags::FORCE | UnmountFlags::DETACH),
            ended => ended,
        };
        match ended {
            // Somebody else has unmounted it.
            Ok(()) | Err(Errno::INVAL) => {}
            Err(error) => tracing::warn!(point = %self.point.display(), %error, "cannot unmount"),
        }
    }
}

/// Mounts on `point` with these flags, beside what every mount of ours has; the descriptor of `/dev/fuse` that has
/// its requests. When it and all [`another`] are closed, users of the mount get errors.
pub fn attach(point: &Path, flags: MountFlags) -> Result<OwnedFd, MountError> {
    let device = open()?;
    let options = format!(
        "fd={},rootmode=40000,user_id={},group_id={},default_permissions,allow_other",
        device.as_raw_fd(),
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let failed = |error| MountError::Mount {
        point: point.to_owned(),
        error,
    };
    let options = CString::new(options).map_err(|_| failed(Errno::INVAL))?;
    rustix::mount::mount("cenote", point, c"fuse", flags, &*options).map_err(failed)?;
    Ok(device)
}

/// One more descriptor with requests of the same mount. A reply must be written to the one that had its request.
pub fn another(device: &OwnedFd) -> Result<OwnedFd, MountError> {
    let other = open()?;
    let original = device.as_raw_fd() as u32;
    // SAFETY: both descriptors are open, and the kernel reads one 32-bit number.
    let result = unsafe { libc::ioctl(other.as_raw_fd(), CLONE, &raw const original) };
    if result < 0 {
        let error = std::io::Error::last_os_error();
        let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        return Err(MountError::Clone(error));
    }
    Ok(other)
}

fn open() -> Result<OwnedFd, MountError> {
    rustix::fs::open("/dev/fuse", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(MountError::Device)
}
