//! What a sandbox has mounted beside its root.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// How many directories, files and volumes one sandbox shares at most: each is a device, and a machine on KVM has lines
/// for 18, of which six may be taken otherwise.
pub const MAX_SHARES: usize = 12;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Where, in the container: absolute, below `/`, without `.`, `..` and needless slashes.
    pub target: String,
    /// What.
    pub source: Source,
    /// Whether it refuses writes.
    pub read_only: bool,
    /// Further mount options as a user types them: `noexec`, and for a file system in memory `size=64m`; may be empty.
    pub options: String,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// An empty file system in the machine's memory.
    Tmpfs,
    /// A directory or a file of the host.
    Bind {
        /// Absolute.
        path: PathBuf,
        /// How it is shared.
        sharing: Sharing,
    },
    /// A volume of the data folder.
    Volume {
        /// Its name.
        name: String,
        /// Whether it was made for this sandbox alone, and goes with it.
        anonymous: bool,
        /// Whether what the image has at the target is copied to it while it is empty.
        copy: bool,
        /// How it is shared.
        sharing: Sharing,
    },
}

/// How a directory is shared with the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sharing {
    /// What the guest may keep.
    pub cache: Cache,
    /// Whom files belong to.
    pub idmap: IdMap,
    /// Among whom locks hold.
    pub locks: Locks,
}

/// What the guest may keep of a directory, by virtiofsd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cache {
    /// Neither data nor names nor attributes.
    Never,
    /// Names and attributes, but no data.
    Metadata,
    /// All, for a second; data as long as the file was not changed when it is opened.
    #[default]
    Auto,
    /// All, for good: nobody else changes anything.
    Always,
}

/// Whom files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdMap {
    /// `None` for root; for everybody else, `Owner`.
    #[default]
    Auto,
    /// Ids are the same on both sides, and files belong to whoever makes them. Takes root.
    None,
    /// The host's user is the user of the container's main process, and all files belong to it. For root, that is
    /// whoever has the directory or file.
    Owner,
}

/// What carries requests to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A virtio-fs device for each share.
    VirtioFs,
    /// vsock connections, for each share its own.
    Vsock,
}

/// Among whom locks hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Locks {
    /// The container's own processes.
    #[default]
    Local,
    /// All who use the file on the host.
    Host,
}
