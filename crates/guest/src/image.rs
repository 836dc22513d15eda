//! The container's root: the image, and over it the layer that can be written.

use std::fmt::Write;
use std::fs::{DirBuilder, create_dir_all};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use cenote_protocol::{ContainerPlan, ErofsPlan, Writable};
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_remount, unmount};

use crate::device;
use crate::step::{Step, StepError};

/// How many pmem devices one tree may span: `mount(2)` takes one page of options, and a device is named in 17 bytes.
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
    /// What the level above lends to containers of this one, read-only.
    pub outer: PathBuf,
}

impl RootPaths {
    /// The usual places below `base`.
    pub fn under(base: &Path) -> RootPaths {
        RootPaths {
            image: base.join("image"),
            changes: base.join("changes"),
            merged: base.join("root"),
            outer: base.join("outer"),
        }
    }

    fn make(&self) -> Result<(), StepError> {
        for path in [&self.image, &self.changes, &self.merged, &self.outer] {
            create_dir_all(path).step("make the directory", path.display())?;
        }
        Ok(())
    }
}

/// Mounts the image and the writable layer of the plan, and what the level above lends.
///
/// # Errors
/// A missing device, an image that does not mount, a disk without a file system.
pub fn mount_root(plan: &ContainerPlan, at: &RootPaths) -> Result<(), StepError> {
    at.make()?;
    mount_erofs(&plan.root, &at.image)?;
    mount_changes(&plan.writable, &at.changes)?;
    mount_overlay(&plan.writable, at)?;
    match &plan.nested {
        Some(nested) => mount_erofs(&nested.outer, &at.outer),
        None => Ok(()),
    }
}

fn mount_erofs(tree: &ErofsPlan, at: &Path) -> Result<(), StepError> {
    if !(1..=MAX_DEVICES).contains(&tree.devices) {
        return Err(rustix::io::Errno::INVAL)
            .step("mount an image of this many devices:", tree.devices);
    }
    let first = device::wait_for(&format!("pmem{}", tree.first))?;
    for number in further(tree) {
        device::wait_for(&format!("pmem{number}"))?;
    }
    let options = erofs_options(tree);
    mount(
        &first,
        at,
        "erofs",
        MountFlags::RDONLY | MountFlags::NODEV,
        Some(options.as_c_str()),
    )
    .step("mount the image on", first.display())
}

/// The numbers of the devices after the first.
fn further(tree: &ErofsPlan) -> impl Iterator<Item = u32> {
    (1..tree.devices).map(|nth| tree.first.saturating_add(nth))
}

fn erofs_options(tree: &ErofsPlan) -> std::ffi::CString {
    let mut options = String::from(if tree.dax { "dax=always" } else { "dax=never" });
    for number in further(tree) {
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
    for path in [&at.merged, &at.changes, &at.image, &at.outer] {
        // Nothing is lost: all is written, and the machine ends.
        let _ = unmount(path, UnmountFlags::DETACH);
    }
}

#[cfg(test)]
#[path = "image_test.rs"]
mod tests;
