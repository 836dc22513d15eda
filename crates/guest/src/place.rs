//! The two places where a process can be run beside the container's first: the container, and the machine itself.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::mount::{MountFlags, mount, mount_bind, mount_bind_recursive};
use rustix::process::{chdir, chroot};
use rustix::thread::{
    ThreadNameSpaceType, UnshareFlags, move_into_thread_name_spaces, unshare_unsafe,
};

use crate::image::RootPaths;
use crate::step::{Step, StepError};

/// Moves the calling thread into the container of `first_process`: its namespaces, its root.
///
/// # Errors
/// `ESRCH` if the process has ended.
pub fn enter_container(first_process: &OwnedFd) -> Result<(), StepError> {
    own_root_and_directory()?;
    let all = ThreadNameSpaceType::MOUNT
        | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
        | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
        | ThreadNameSpaceType::CONTROL_GROUP
        | ThreadNameSpaceType::PROCESS_ID;
    move_into_thread_name_spaces(first_process.as_fd(), all).step("enter", "the container")
}

/// Lets the calling thread have a root and a working directory of its own.
fn own_root_and_directory() -> Result<(), StepError> {
    // SAFETY: descriptors stay shared between the threads; that is what the call could break.
    unsafe { unshare_unsafe(UnshareFlags::FS) }.step("separate the root of", "a process")
}

/// Where processes in the machine itself find their programs.
///
/// The initramfs has none. A shell "in the guest" is there to look around: so it runs in the machine's namespaces,
/// with all capabilities, on a view that consists of the image's programs (changes to them stay in a tmpfs of the
/// view), the machine's own /proc, /sys, /dev and /run, and the container's live root at /run/container.
#[derive(Debug)]
pub enum MachineView {
    /// The calling process's own root is good as it is: for tests.
    Here,
    /// Built at `base` from the container's image when it is first asked for.
    OverImage {
        /// The mounts that it is made of.
        root: RootPaths,
        /// Where it is built.
        base: PathBuf,
        /// Whether it stands.
        built: Mutex<bool>,
    },
}

impl MachineView {
    /// A view over the image of `root`, below `base`.
    pub fn over_image(root: RootPaths, base: &Path) -> MachineView {
        MachineView::OverImage {
            root,
            base: base.to_owned(),
            built: Mutex::new(false),
        }
    }

    /// Moves the calling thread's root into the view.
    ///
    /// # Errors
    /// What the kernel refuses, such as when there is no image yet.
    pub fn enter(&self) -> Result<(), StepError> {
        let MachineView::OverImage { root, base, built } = self else {
            return Ok(());
        };
        let merged = base.join("root");
        {
            let mut built = built
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if !*built {
                build_view(root, base, &merged)?;
                *built = true;
            }
        }
        own_root_and_directory()?;
        chroot(&merged).step("make the root", merged.display())?;
        chdir("/").step("enter", "/")
    }
}

fn build_view(root: &RootPaths, base: &Path, merged: &Path) -> Result<(), StepError> {
    let changes = base.join("changes");
    for path in [&changes, &merged.to_owned()] {
        make(path)?;
    }
    let none = MountFlags::empty();
    mount("tmpfs", &changes, "tmpfs", none, Some(c"mode=0755"))
        .step("mount a tmpfs on", changes.display())?;
    let (upper, work) = (changes.join("upper"), changes.join("work"));
    make(&upper)?;
    make(&work)?;
    let options = format!(
        "lowerdir={},upperdir={},workdir={},volatile",
        root.image.display(),
        upper.display(),
        work.display()
    );
    let options = std::ffi::CString::new(options).unwrap_or_default();
    mount("overlay", merged, "overlay", none, Some(options.as_c_str()))
        .step("mount the overlay on", merged.display())?;
    for shared in ["proc", "sys", "dev"] {
        share(shared, merged, |from, to| mount_bind_recursive(from, to))?;
    }
    // Without what is mounted below: the image, the container's root and this very view are there.
    share("run", merged, |from, to| mount_bind(from, to))?;
    let container = merged.join("run/container");
    make(&container)?;
    mount_bind_recursive(&root.merged, &container)
        .step("show the container's root at", container.display())
}

/// Shows a folder of the machine's root in the view.
fn share(
    name: &str,
    view: &Path,
    bind: fn(&Path, &Path) -> rustix::io::Result<()>,
) -> Result<(), StepError> {
    let at = view.join(name);
    make(&at)?;
    bind(&Path::new("/").join(name), &at).step("show the machine's", name)
}

fn make(path: &Path) -> Result<(), StepError> {
    std::fs::create_dir_all(path).step("make the directory", path.display())
}
