//! The mounts of the plan: file systems in memory, and directories and files of the host.
//!
//! A share is taken up while the machine's own files can still be reached, at a place that the container never sees, and
//! put at its target when the container's root is the root. So a share of a single file shows nothing else of it.

use std::ffi::CString;
use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;

use cenote_fuse::device;
use cenote_fuse::stream::Relay;
use cenote_protocol::{HOST_CID, MountPlan, MountSource, Owner, ShareTransport};
use rustix::fs::{AtFlags, FileType, statat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::build::{detached, put};
use super::{fill, mount_point, options};
use crate::step::{Step, StepError};
use crate::vsock;

/// What the container is built from.
#[derive(Debug, Clone, Copy)]
pub struct Places<'a> {
    /// Where the container's root is mounted.
    pub root: &'a Path,
    /// Where shares are taken up: a folder of the machine that nothing else uses.
    pub aside: &'a Path,
}

/// A share that was taken up.
#[derive(Debug)]
pub struct Taken {
    /// What of it goes to the target.
    pub taken: OwnedFd,
    /// The whole of it, on a mount that nobody else has.
    pub whole: OwnedFd,
}

/// Takes up the shares of `plans`, one for each plan; a file system in memory needs none.
///
/// # Errors
/// A share that does not mount, or cannot be filled.
pub fn take_up(
    plans: &[MountPlan],
    places: Places<'_>,
    owner: Option<Owner>,
) -> Result<Vec<Option<Taken>>, StepError> {
    plans
        .iter()
        .map(|plan| match &plan.source {
            MountSource::Tmpfs => Ok(None),
            MountSource::Share {
                transport,
                file,
                fill,
            } => {
                fs::create_dir_all(places.aside)
                    .step("make the directory", places.aside.display())?;
                mount_share(transport, &plan.options, places.aside, &plan.target)?;
                let taken = take(plan, file.as_deref(), *fill, places, owner).and_then(|taken| {
                    Ok(Taken {
                        taken,
                        whole: detached(places.aside)?,
                    })
                });
                // What was taken of it stays mounted.
                unmount(places.aside, UnmountFlags::DETACH)
                    .step("unmount", places.aside.display())?;
                taken.map(Some)
            }
        })
        .collect()
}

/// Takes what the plan wants of the share that is mounted aside.
fn take(
    plan: &MountPlan,
    file: Option<&str>,
    fill: bool,
    places: Places<'_>,
    owner: Option<Owner>,
) -> Result<OwnedFd, StepError> {
    if fill {
        let image = mount_point::resolve(places.root, Path::new(&plan.target))
            .step("find", &plan.target)?;
        fill::fill(&image, places.aside, owner).step("fill the volume for", &plan.target)?;
    }
    let Some(file) = file else {
        return detached(places.aside);
    };
    if file.contains('/') || matches!(file, "" | "." | "..") {
        return Err(Errno::INVAL).step("share a file of the name", file);
    }
    let file = places.aside.join(file);
    match fs::symlink_metadata(&file) {
        Ok(found) if found.is_file() => detached(&file),
        Ok(_) => Err(Errno::INVAL).step("share as a file", &plan.target),
        Err(error) => Err(error).step("find the file to be mounted on", &plan.target),
    }
}

fn mount_share(
    transport: &ShareTransport,
    options: &str,
    at: &Path,
    target: &str,
) -> Result<(), StepError> {
    let (flags, own) = options::parse(options);
    if !own.is_empty() {
        return Err(Errno::INVAL).step("mount a share with the options", options);
    }
    match transport {
        ShareTransport::VirtioFs { tag } => {
            mount(tag.as_str(), at, "virtiofs", flags, None).step("mount the share on", target)
        }
        ShareTransport::Vsock { port, streams } => {
            mount_over_vsock(*port, *streams, flags, at, target)
        }
    }
}

/// Mounts what the host serves at `port`. The mount carries its own requests from then on, as long as it is in use.
fn mount_over_vsock(
    port: u32,
    streams: u32,
    flags: MountFlags,
    at: &Path,
    target: &str,
) -> Result<(), StepError> {
    let streams = (0..streams)
        .map(|_| vsock::connect(HOST_CID, port))
        .collect::<Result<Vec<_>, _>>()
        .step("connect to the host's vsock port", port)?;
    let device = device::attach(at, flags)
        .map_err(|error| error.errno())
        .step("mount the share on", target)?;
    let relay = Relay::start(device, streams)
        .map_err(|error| error.errno())
        .step("carry the requests of the share on", target)?;
    relay.detach();
    Ok(())
}

/// Mounts one plan in the container, whose root is the root here; with the share that was taken up for it.
///
/// # Errors
/// A target that is not what is mounted on it (a file, a directory), options that the file system does not have, and
/// what the kernel refuses.
pub fn mount_at_target(plan: &MountPlan, share: Option<&OwnedFd>) -> Result<(), StepError> {
    if !plan.target.starts_with('/') {
        return Err(Errno::INVAL).step("mount on", &plan.target);
    }
    let at = mount_point::resolve(Path::new("/"), Path::new(&plan.target))
        .step("mount on", &plan.target)?;
    let directory = share.is_none_or(is_directory);
    match fs::symlink_metadata(&at) {
        Ok(found) if found.is_dir() && !directory => {
            return Err(Errno::ISDIR).step("mount a file on", &plan.target);
        }
        Ok(found) if !found.is_dir() && directory => {
            return Err(Errno::NOTDIR).step("mount a directory on", &plan.target);
        }
        Ok(_) => {}
        Err(_) => mount_point::make(&at, directory).step("make the mount point", &plan.target)?,
    }
    match share {
        Some(share) => put(share, &at),
        None => mount_tmpfs(&at, &plan.options),
    }
}

fn is_directory(share: &OwnedFd) -> bool {
    statat(share, c"", AtFlags::EMPTY_PATH)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Directory)
}

/// As with podman, the mode is 1777 unless the options say otherwise.
fn mount_tmpfs(at: &Path, options: &str) -> Result<(), StepError> {
    let (flags, own) = options::parse(options);
    let data = CString::new([&["mode=1777"][..], &own].concat().join(","))
        .map_err(|_| Errno::INVAL)
        .step("mount a tmpfs with the options", options)?;
    mount("tmpfs", at, "tmpfs", flags, Some(data.as_c_str())).step("mount a tmpfs on", at.display())
}
