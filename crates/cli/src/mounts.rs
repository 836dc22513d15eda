//! From the mount flags to the mounts of a sandbox: nothing twice, what lies in another behind it.

use std::env;
use std::path::PathBuf;

use cenote_sandbox::mount::{MAX_SHARES, Mount, Source};
use cenote_sandbox::volume;

use crate::flags::mount::{MountFlag, SourceFlag, target};
use crate::verbs::container::ContainerFlags;

/// Where a container with a read-only root can still write, unless the user puts something else there.
const SCRATCH: [(&str, &str); 3] = [
    ("/run", "mode=755"),
    ("/tmp", "mode=1777"),
    ("/var/tmp", "mode=1777"),
];

/// Why flags make no mounts.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// Two mounts on one place.
    #[error("{0}: duplicate mount destination")]
    Duplicate(String),
    /// What is to be shared is not there.
    #[error("statfs {path}: {source}; make it first")]
    Source {
        /// The path, absolute.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// More than a machine has devices for.
    #[error(
        "{0} shares are too many: a machine has {MAX_SHARES}; share the folder that several of them lie in"
    )]
    TooMany(usize),
    /// The current folder, in which a path is relative, is gone.
    #[error("a relative path has no folder here: {0}")]
    NoFolder(std::io::Error),
}

/// What the flags mount.
///
/// # Errors
/// See [`MountError`].
pub fn typed(flags: &ContainerFlags) -> Result<Vec<Mount>, MountError> {
    let volumes = flags.volume.iter().map(|flag| &flag.0);
    let pairs = flags.mount.iter().map(|flag| &flag.0);
    let tmpfs = flags.tmpfs.iter().map(|flag| &flag.0);
    let typed = volumes.chain(pairs).chain(tmpfs);
    let mut mounts = typed.map(mount).collect::<Result<Vec<_>, _>>()?;
    in_order(&mut mounts);
    let shares = mounts.iter().filter(|mount| mount.source != Source::Tmpfs);
    let count = shares.count();
    if count > MAX_SHARES {
        return Err(MountError::TooMany(count));
    }
    match mounts.windows(2).find(|two| two[0].target == two[1].target) {
        Some(two) => Err(MountError::Duplicate(two[0].target.clone())),
        None => Ok(mounts),
    }
}

/// Adds what a container with a read-only root needs to run: places to write, and the volumes that its image declares.
pub fn for_read_only_root<'a>(mounts: &mut Vec<Mount>, declared: impl Iterator<Item = &'a String>) {
    let scratch = SCRATCH.map(|(path, options)| Mount {
        target: path.to_owned(),
        source: Source::Tmpfs,
        read_only: false,
        options: options.to_owned(),
    });
    let volumes = declared
        .filter_map(|path| target(path).ok())
        .map(|target| Mount {
            target,
            source: Source::Volume {
                name: volume::anonymous_name(),
                anonymous: true,
                copy: true,
                sharing: Default::default(),
            },
            read_only: false,
            options: String::new(),
        });
    for mount in volumes.chain(scratch) {
        if mounts.iter().all(|other| other.target != mount.target) {
            mounts.push(mount);
        }
    }
    in_order(mounts);
}

/// A path sorts before those below it.
fn in_order(mounts: &mut [Mount]) {
    mounts.sort_by(|one, other| one.target.split('/').cmp(other.target.split('/')));
}

fn mount(flag: &MountFlag) -> Result<Mount, MountError> {
    let options = &flag.options;
    let sharing = options.sharing;
    let source = match &flag.source {
        SourceFlag::Tmpfs => Source::Tmpfs,
        SourceFlag::Path(path) => Source::Bind {
            path: absolute(path)?,
            sharing,
        },
        SourceFlag::Volume(name) => Source::Volume {
            name: name.clone().unwrap_or_else(volume::anonymous_name),
            anonymous: name.is_none(),
            copy: options.copy,
            sharing,
        },
    };
    Ok(Mount {
        target: flag.target.clone(),
        source,
        read_only: options.read_only,
        options: options.words.join(","),
    })
}

/// The path from the root on; it must lead somewhere.
fn absolute(path: &str) -> Result<PathBuf, MountError> {
    let current = env::current_dir().map_err(MountError::NoFolder)?;
    let path: PathBuf = current.join(path).components().collect();
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(source) => Err(MountError::Source { path, source }),
    }
}

#[cfg(test)]
#[path = "mounts_test.rs"]
mod tests;
