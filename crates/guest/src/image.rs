//! The container's root: the image, and over it the layer that can be written.

use std::fmt::Write;
use std::fs::{DirBuilder, create_dir_all};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cenote_protocol::{RootPlan, Writable};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::device;
use crate::step::{Step, StepError};

/// How many pmem devices one image may span: `mount(2)` takes one page of options, and a device is named in 17 bytes.
/// The host concatenates above 16.
const MAX_DEVICES: u32 = 64;

/// Where the pieces of a container's root are mounted in the machine's own namespace.
#[derive(Debug, Clone)]
pub struct RootPaths {
    /// The image, read-only.
    pub image: PathBuf,
    /// The file system that holds the changes.
    pub changes: PathBuf,
    /// Both together.
    pub merged: PathBuf,
}

impl RootPaths {
    /// The usual places below `base`.
    pub fn under(base: &Path) -> RootPaths {
        RootPaths {
            image: base.join("image"),
            changes: base.join("changes"),
            merged: base.join("root"),
        }
    }

    fn make(&self) -> Result<(), StepError> {
        for path in [&self.image, &self.changes, &self.merged] {
            create_dir_all(path).step("make the directory", path.display())?;
        }
        Ok(())
    }
}

/// Mounts the image and the writable layer of the plan.
///
/// # Errors
/// A missing device, an image that does not mount, a disk without a file system.
pub fn mount_root(root: &RootPlan, writable: &Writable, at: &RootPaths) -> Result<(), StepError> {
    at.make()?;
    mount_image(root, &at.image)?;
    mount_changes(writable, &at.changes)?;
    mount_overlay(writable, at)
}

fn mount_image(root: &RootPlan, at: &Path) -> Result<(), StepError> {
    if !(1..=MAX_DEVICES).contains(&root.pmem_devices) {
        return Err(rustix::io::Errno::INVAL)
            .step("mount an image of this many devices:", root.pmem_devices);
    }
    let first = device::wait_for("pmem0")?;
    for number in 1..root.pmem_devices {
        device::wait_for(&format!("pmem{number}"))?;
    }
    let options = image_options(root);
    mount(
        &first,
        at,
        "erofs",
        MountFlags::RDONLY | MountFlags::NODEV,
        Some(options.as_c_str()),
    )
    .step("mount the image on", first.display())
}

fn image_options(root: &RootPlan) -> std::ffi::CString {
    let mut options = String::from(if root.dax { "dax=always" } else { "dax=never" });
    for number in 1..root.pmem_devices {
        // Writing to a string cannot fail.
        let _ = write!(options, ",device=/dev/pmem{number}");
    }
    std::ffi::CString::new(options).unwrap_or_default()
}

fn mount_changes(writable: &Writable, at: &Path) -> Result<(), StepError> {
    match writable {
        Writable::Disk { device } => {
            let path = device::wait_for(device)?;
            mount(&path, at, "ext4", MountFlags::NOATIME, None)
                .step("mount the writable disk", path.display())
        }
        Writable::Tmpfs {
            size_bytes: Some(bytes),
        } => mount_tmpfs(at, &format!("mode=0700,size={bytes}")),
        Writable::Tmpfs { size_bytes: None } | Writable::ReadOnly => mount_tmpfs(at, "mode=0700"),
    }
}

fn mount_tmpfs(at: &Path, options: &str) -> Result<(), StepError> {
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount(
        "tmpfs",
        at,
        "tmpfs",
        MountFlags::NODEV,
        Some(options.as_c_str()),
    )
    .step("mount a tmpfs on", at.display())
}

fn mount_overlay(writable: &Writable, at: &RootPaths) -> Result<(), StepError> {
    let upper = at.changes.join("upper");
    let work = at.changes.join("work");
    for path in [&upper, &work] {
        // The upper directory is the container's "/", so its mode is seen there.
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(path)
            .step("make the directory", path.display())?;
    }
    let mut options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at.image.display(),
        upper.display(),
        work.display()
    );
    if !matches!(writable, Writable::Disk { .. }) {
        // Memory has nothing to lose, so syncing it is a waste.
        options.push_str(",volatile");
    }
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount(
        "overlay",
        &at.merged,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )
    .step("mount the overlay on", at.merged.display())
}

/// Takes down what [`mount_root`] mounted, so that a disk is clean. Threads of the container's last connections may
/// still hold its namespace, so the disk is made read-only first: that does not depend on them.
pub fn unmount_root(at: &RootPaths) {
    rustix::fs::sync();
    let _ = mount_remount(&at.changes, MountFlags::RDONLY, c"");
    for path in [&at.merged, &at.changes, &at.image] {
        // Nothing is lost: all is written, and the machine ends.
        let _ = unmount(path, UnmountFlags::DETACH);
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
