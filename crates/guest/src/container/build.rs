//! Builds the container's namespaces and file system around the calling thread.

use std::ffi::CString;
use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use cenote_protocol::{ContainerPlan, DnsPlan, OUTER, Tmpfs, Writable};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount, mount_change,
    mount_move, mount_remount, move_mount, open_tree,
};
use rustix::process::{chdir, chroot};
use rustix::thread::{UnshareFlags, unshare_unsafe};

use super::dev::mount_dev;
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
}

/// Moves the calling thread into new namespaces whose root is the file system mounted at `root`. The files by which
/// the container knows names are kept in `names`. A PID namespace is not part of it: the first process makes its own.
///
/// # Errors
/// What the kernel refuses.
pub fn enter(
    plan: &ContainerPlan,
    root: &Path,
    names: &Path,
    around: &Surroundings,
) -> Result<(), StepError> {
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
    change_root(root)?;
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
    for tmpfs in &plan.tmpfs {
        mount_tmpfs(tmpfs)?;
    }
    for (file, path) in files {
        cover_file(file, path)?;
    }
    if let Some(outer) = outer {
        make_directory(OUTER)?;
        put(&outer, OUTER)?;
    }
    if plan.writable == Writable::ReadOnly {
        mount_remount("/", MountFlags::BIND | MountFlags::RDONLY, c"")
            .step("protect the root from", "writing")?;
    }
    Ok(())
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
fn detached(path: &Path) -> Result<OwnedFd, StepError> {
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

/// Mounts over a file of the container, which is made if it is missing. All paths are inside the container here, so
/// a symbolic link of the image leads nowhere else.
fn cover_file(file: OwnedFd, path: &str) -> Result<(), StepError> {
    if let Some(folder) = Path::new(path).parent() {
        fs::create_dir_all(folder).step("make the directory", folder.display())?;
    }
    if !Path::new(path).is_file() && fs::File::create(path).is_err() {
        // A link that leads nowhere gives way to the file.
        fs::remove_file(path).step("remove", path)?;
        fs::File::create(path).step("make the file", path)?;
    }
    put(&file, path)
}

/// Puts a detached mount over a path of the container.
fn put(mount: &OwnedFd, path: &str) -> Result<(), StepError> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_SYMLINKS;
    move_mount(mount, c"", CWD, path, flags).step("mount over", path)
}

fn make_directory(path: &str) -> Result<(), StepError> {
    fs::create_dir_all(path).step("make the directory", path)
}

fn mount_tmpfs(tmpfs: &Tmpfs) -> Result<(), StepError> {
    if !tmpfs.path.starts_with('/') {
        return Err(Errno::INVAL).step("mount a tmpfs on", &tmpfs.path);
    }
    make_directory(&tmpfs.path)?;
    let (flags, data) =
        tmpfs_options(&tmpfs.options).step("mount a tmpfs with the options", &tmpfs.options)?;
    mount("tmpfs", &tmpfs.path, "tmpfs", flags, Some(data.as_c_str()))
        .step("mount a tmpfs on", &tmpfs.path)
}

/// Divides the options as a user types them (mount(8)) into the kernel's flags and what tmpfs reads itself. As with
/// podman, set-user-id programs and devices are off unless asked for, and the mode is 1777.
fn tmpfs_options(options: &str) -> Result<(MountFlags, CString), Errno> {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    let mut data = vec!["mode=1777"];
    for option in options.split(',') {
        match option {
            "" | "rw" | "tmpcopyup" | "notmpcopyup" | "rprivate" | "private" => {}
            "ro" => flags |= MountFlags::RDONLY,
            "noexec" => flags |= MountFlags::NOEXEC,
            "exec" => flags -= MountFlags::NOEXEC,
            "nosuid" => flags |= MountFlags::NOSUID,
            "suid" => flags -= MountFlags::NOSUID,
            "nodev" => flags |= MountFlags::NODEV,
            "dev" => flags -= MountFlags::NODEV,
            "noatime" => flags |= MountFlags::NOATIME,
            own => data.push(own),
        }
    }
    let data = CString::new(data.join(",")).map_err(|_| Errno::INVAL)?;
    Ok((flags, data))
}

#[cfg(test)]
#[path = "build_test.rs"]
mod tests;
