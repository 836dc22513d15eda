//! Builds the container's namespaces and file system around the calling thread.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cenote_protocol::{ContainerPlan, DnsPlan, OUTER, Owner, Writable};
use rustix::fs::CWD;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
    mount_move, mount_remount, move_mount, open_tree,
};
use rustix::process::{chdir, chroot};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::dev::mount_dev;
use super::mounts::{self, Places};
use crate::names;
use crate::step::{Step, StepError};

const HARDENED: MountFlags = MountFlags::NOSUID
    .union(MountFlags::NODEV)
    .union(MountFlags::NOEXEC);

/// What the container's network looks like from inside.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The machine's address.
    pub address: Option<Ipv4Addr>,
    /// Its resolver.
    pub dns: DnsPlan,
    /// The mount of what the level above lends, which the container sees at [`OUTER`].
    pub outer: Option<PathBuf>,
    /// Who the container's main process runs as, if that is known.
    pub owner: Option<Owner>,
}

/// Moves the calling thread into new namespaces whose root is the file system mounted at `places.root`. The files by
/// which the container knows names are kept in `names`. A PID namespace is not part of it: the first process makes its own.
/// Gives the shares, each on a mount of its own, one for each of the plan's mounts.
///
/// # Errors
/// What the kernel refuses.
pub fn enter(
    plan: &ContainerPlan,
    places: Places<'_>,
    names: &Path,
    around: &Surroundings,
) -> Result<Vec<Option<OwnedFd>>, StepError> {
    let files = name_files(plan, names, around)?;
    let apart =
        UnshareFlags::FS | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC;
    // SAFETY: descriptors stay shared between the threads; that is what the call could break.
    unsafe { unshare_unsafe(apart) }.step("make namespaces for", "the container")?;
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .step("separate the mounts of", "/")?;
    let files = files
        .into_iter()
        .map(|(file, path)| Ok((detached(&file)?, path)))
        .collect::<Result<Vec<_>, StepError>>()?;
    let outer = around.outer.as_deref().map(detached).transpose()?;
    let shares = mounts::take_up(&plan.mounts, places, around.owner)?;
    change_root(places.root)?;
    rustix::system::sethostname(plan.hostname.as_bytes())
        .step("take the host name", &plan.hostname)?;

    make_directory("/proc")?;
    make_directory("/sys")?;
    mount(
        "sysfs",
        "/sys",
        "sysfs",
        HARDENED | MountFlags::RDONLY,
        None,
    )
    .step("mount the file system on", "/sys")?;
    make_directory("/dev")?;
    mount_dev(plan.shm_bytes, plan.nested.is_some())?;
    for (mount, share) in plan.mounts.iter().zip(&shares) {
        mounts::mount_at_target(mount, share.as_ref().map(|share| &share.taken))?;
    }
    for (file, path) in files {
        // What the user mounts there is meant to be there.
        if plan.mounts.iter().all(|mount| mount.target != path) {
            cover_file(&file, path)?;
        }
    }
    if let Some(outer) = outer {
        make_directory(OUTER)?;
        put(&outer, Path::new(OUTER))?;
    }
    if plan.writable == Writable::ReadOnly {
        mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"")
            .step("protect the root from", "writing")?;
    }
    let whole = shares.into_iter().map(|share| Some(share?.whole));
    Ok(whole.collect())
}

/// Writes the files of names; each with its path in the container.
fn name_files(
    plan: &ContainerPlan,
    folder: &Path,
    around: &Surroundings,
) -> Result<Vec<(PathBuf, &'static str)>, StepError> {
    fs::create_dir_all(folder).step("make the directory", folder.display())?;
    let contents = [
        (
            "hostname",
            "/etc/hostname",
            names::hostname_file(&plan.hostname),
        ),
        (
            "hosts",
            "/etc/hosts",
            names::hosts_file(&plan.hostname, around.address, &plan.hosts),
        ),
        (
            "resolv.conf",
            "/etc/resolv.conf",
            names::resolv_file(&around.dns),
        ),
    ];
    let mut files = Vec::new();
    for (name, path, content) in contents {
        let file = folder.join(name);
        fs::write(&file, content).step("write", file.display())?;
        files.push((file, path));
    }
    Ok(files)
}

/// A mount of one file or of what is mounted at a folder, not yet anywhere.
pub(super) fn detached(path: &Path) -> Result<OwnedFd, StepError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    open_tree(CWD, path, flags).step("take up", path.display())
}

/// Makes `root` the root. pivot_root(2) is not possible here: the initramfs cannot be moved away, only covered.
fn change_root(root: &Path) -> Result<(), StepError> {
    chdir(root).step("enter", root.display())?;
    mount_move(root, "/").step("move to the root the mount", root.display())?;
    chroot(".").step("make the root", root.display())?;
    chdir("/").step("enter", "/")
}

/// Mounts over a file of the container, which is made if it is missing; but a share gets no file that it does not have.
/// All paths are inside the container here, so a symbolic link of the image leads nowhere else.
fn cover_file(file: &OwnedFd, path: &str) -> Result<(), StepError> {
    let folder = Path::new(path).parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).step("make the directory", folder.display())?;
    if !Path::new(path).is_file() {
        let device = |path| fs::metadata(path).map(|found| found.dev());
        if device(folder).step("look at", folder.display())?
            != device(Path::new("/")).step("look at", "/")?
        {
            return Ok(());
        }
        if fs::File::create(path).is_err() {
            // A link that leads nowhere gives way to the file.
            fs::remove_file(path).step("remove", path)?;
            fs::File::create(path).step("make the file", path)?;
        }
    }
    put(file, Path::new(path))
}

/// Puts a detached mount over a path of the container.
pub(super) fn put(mount: &OwnedFd, path: &Path) -> Result<(), StepError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount, c"", CWD, path, flags).step("mount over", path.display())
}

fn make_directory(path: &str) -> Result<(), StepError> {
    fs::create_dir_all(path).step("make the directory", path)
}
