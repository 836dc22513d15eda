//! Mount options as a user types them (mount(8)).

use rustix::mount::MountFlags;

/// Divides options into the kernel's flags and what the file system reads itself. As with podman, set-user-id programs
/// and devices are without effect unless asked for.
pub fn parse(options: &str) -> (MountFlags, Vec<&str>) {
    let mut flags = MountFlags::NOSUID | MountFlags::NODEV;
    let mut own = Vec::new();
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
            option => own.push(option),
        }
    }
    (flags, own)
}

#[cfg(test)]
#[path = "options_test.rs"]
mod tests;
