//! Owners that the server has no right to give a file on the host, kept in an extended attribute of the file.

use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::fd_path::FdPath;
use crate::host_time;

/// What the client must not see or change.
pub const PREFIX: &str = "user.cenote.";

const NAME: &CStr = c"user.cenote.owner";

/// Two numbers of ten digits, and the colon between them.
const LENGTH: usize = 21;

/// The owner that `file` keeps, if it keeps one.
pub fn read(file: impl AsFd) -> Option<(u32, u32)> {
    let mut value = [0; LENGTH];
    let length =
        host_time::call(|| rustix::fs::getxattr(FdPath::new(&file).as_c_str(), NAME, &mut value))
            .ok()?;
    let (user, group) = str::from_utf8(&value[..length]).ok()?.split_once(':')?;
    let id = |text: &str| text.parse().ok().filter(|id| *id != u32::MAX);
    Some((id(user)?, id(group)?))
}

/// Has `file` keep an owner; none, if the host's file system keeps no attributes.
pub fn write(file: impl AsFd, (user, group): (u32, u32)) -> Result<(), Errno> {
    let value = format!("{user}:{group}");
    let path = FdPath::new(&file);
    match host_time::call(|| {
        rustix::fs::setxattr(path.as_c_str(), NAME, value.as_bytes(), XattrFlags::empty())
    }) {
        Err(Errno::OPNOTSUPP) => Ok(()),
        written => written,
    }
}

/// Has `file` keep no owner any more.
pub fn remove(file: impl AsFd) -> Result<(), Errno> {
    match host_time::call(|| rustix::fs::removexattr(FdPath::new(&file).as_c_str(), NAME)) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        removed => removed,
    }
}
