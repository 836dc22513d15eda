//! What a sandbox is to be: written once, when it is created.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use cenote_net::PublishedPort;
use cenote_protocol::ProcessSpec;
use serde::{Deserialize, Serialize};

use crate::mount::{Mount, Source, Transport};

/// Everything about a sandbox that its creator decides.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spec {
    /// The name that users type, unique among the sandboxes of one data folder.
    pub name: String,
    /// The image that the container runs.
    pub image: Image,
    /// The container's main process.
    pub process: ProcessSpec,
    /// The container's host name; the sandbox's short id when there is none.
    pub hostname: Option<String>,
    /// What of the host the VM gets.
    pub resources: Resources,
    /// Whether the container's root file system refuses writes.
    pub read_only: bool,
    /// Whether the guest maps the image's files in place instead of copying them into its memory.
    pub dax: bool,
    /// What is mounted beside the root, each mount behind those that it lies in.
    pub mounts: Vec<Mount>,
    /// What carries requests for shared directories to the host; virtio-fs unless something is named.
    pub share_transport: Option<Transport>,
    /// How the container reaches others, and they it.
    pub network: Network,
    /// Whether the sandbox is removed when it has ended.
    pub remove_on_exit: bool,
    /// Free words of the user.
    pub labels: BTreeMap<String, String>,
    /// The signal that asks the container to end.
    pub stop_signal: i32,
    /// How long it has for that, in seconds, before it is killed.
    pub stop_timeout: u32,
    /// The guest kernel by version or name; the newest when there is none.
    pub kernel: Option<String>,
    /// What runs the VM.
    pub vmm: Vmm,
    /// Who executes the guest's instructions under QEMU.
    pub accel: Accel,
    /// What it needs to run sandboxes of its own, if it is to.
    pub nested: Option<Nested>,
}

impl Spec {
    /// How many of its mounts are shares: directories, files and volumes of the host.
    pub fn shares(&self) -> usize {
        let mounts = self.mounts.iter();
        mounts.filter(|mount| mount.source != Source::Tmpfs).count()
    }
}

/// What a sandbox is lent to run sandboxes of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nested {
    /// The images that it finds in its store.
    pub images: Vec<Image>,
}

/// An image as the creator resolved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The name under which it was asked for.
    pub reference: String,
    /// Its id in the image store: the digest of its configuration.
    pub id: String,
}

/// What a guest's kernel and agent need beside the image's page structures to come up at all, in bytes.
pub const MIN_MEMORY: u64 = 96 << 20;

/// What of the host a VM gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Virtual CPUs.
    pub cpus: u32,
    /// RAM in bytes.
    pub memory: u64,
    /// The writable layer's size in bytes; the file is sparse.
    pub disk: u64,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            cpus: 1,
            memory: 512 << 20,
            disk: 10 << 30,
        }
    }
}

/// How a container reaches others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// Only itself.
    None,
    /// Through the host, as an ordinary process of its user does.
    Default {
        /// Ports of the host that lead to the container.
        ports: Vec<PublishedPort>,
        /// Name servers instead of the host's.
        dns: Vec<Ipv4Addr>,
        /// More lines for /etc/hosts: name and address.
        add_hosts: Vec<(String, Ipv4Addr)>,
    },
}

/// What runs a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vmm {
    /// The best that works here.
    #[default]
    Auto,
    /// The monitor itself, through /dev/kvm.
    Kvm,
    /// A QEMU child.
    Qemu,
}

/// Who executes a guest's instructions under QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accel {
    /// The hardware where it works, else QEMU's translator.
    #[default]
    Auto,
    /// The hardware, through /dev/kvm.
    Kvm,
    /// QEMU's translator.
    Tcg,
}
