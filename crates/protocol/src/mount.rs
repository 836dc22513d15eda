//! What a container finds mounted beside its root, and how the agent gets at directories of the host.

use serde::{Deserialize, Serialize};

/// One mount in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPlan {
    /// Where, as an absolute path in the container; made if it does not exist. Symbolic links in it are followed within
    /// the container's root.
    pub target: String,
    /// What.
    pub source: MountSource,
    /// Mount options as a user types them (`ro,noexec,size=64m`); may be empty. Without a word on it, devices and
    /// set-user-id programs are without effect.
    pub options: String,
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSource {
    /// An empty file system in the machine's memory. It takes tmpfs's own options as well.
    Tmpfs,
    /// A directory of the host, or one file in it.
    Share {
        /// The way to it.
        transport: ShareTransport,
        /// The only file in it, if that is what is mounted.
        file: Option<String>,
        /// Whether to fill it first with what the image has at the target. Nothing is done if it is not empty.
        fill: bool,
    },
}

/// How the host serves a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShareTransport {
    /// A virtio-fs device with this tag (virtio 1.3, section 5.11.4: at most 36 bytes).
    VirtioFs {
        /// The tag.
        tag: String,
    },
    /// FUSE messages on vsock connections to the host.
    Vsock {
        /// The host's port.
        port: u32,
        /// How many connections to make.
        streams: u32,
    },
}
