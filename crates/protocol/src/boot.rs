//! The control connection: what the agent tells about itself, what it is to build, and how that went.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};
use crate::mount::MountPlan;

/// Agent to host, first: who is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The running kernel, as `uname -r` prints it.
    pub kernel: String,
}

/// Host to agent, the answer to [`Hello`]: all that the agent needs to build the machine and its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootPlan {
    /// The time of sending, in nanoseconds since 1970-01-01 UTC.
    pub wall_clock_ns: u64,
    /// The network interface; without one the guest has its loopback only.
    pub network: Option<NetworkPlan>,
    /// Kernel settings, applied in order.
    pub sysctls: Vec<Sysctl>,
    /// The container.
    pub container: ContainerPlan,
}

/// A container: its file system and what surrounds its processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerPlan {
    /// The host name, also written to /etc/hostname and /etc/hosts.
    pub hostname: String,
    /// The image.
    pub root: ErofsPlan,
    /// What lies over the image.
    pub writable: Writable,
    /// Further mounts, in order: one that lies in another comes after it.
    pub mounts: Vec<MountPlan>,
    /// The user of the main process (`USER[:GROUP]`), if the host wants to know its numbers before it serves shares.
    pub owner: Option<String>,
    /// The size of /dev/shm in bytes.
    pub shm_bytes: u64,
    /// Lines for /etc/hosts beside localhost and the container itself.
    pub hosts: Vec<HostEntry>,
    /// What it needs beyond that when it runs containers of its own. It then sees /dev/kvm and /dev/net/tun too.
    pub nested: Option<NestedPlan>,
}

/// What a container gets that runs containers of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NestedPlan {
    /// What is mounted at [`crate::OUTER`]: a data folder of Cenote that only the level above changes.
    pub outer: ErofsPlan,
}

/// One EROFS tree whose metadata is a pmem device and whose data lies in it or in the devices after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErofsPlan {
    /// The number of the device with the metadata: 0 for /dev/pmem0.
    pub first: u32,
    /// How many devices the tree spans, the first included. With more than one, those after the first are passed to
    /// the mount as `device=`, in order.
    pub devices: u32,
    /// Whether to mount with `dax=always` (files are read in place, the guest caches nothing) or `dax=never`.
    pub dax: bool,
}

/// What lies over the read-only image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Writable {
    /// Changes live in the guest's memory and are gone with the machine.
    Tmpfs {
        /// The limit in bytes; `None` is half of the guest's memory.
        size_bytes: Option<u64>,
    },
    /// Changes live on a disk with an ext4 file system on it.
    Disk {
        /// The name of the block device, such as `vda`.
        device: String,
    },
    /// The root cannot be written (`--read-only`).
    ReadOnly,
}

/// One kernel setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sysctl {
    /// The name with dots, such as `net.ipv4.ip_forward`.
    pub name: String,
    /// The value.
    pub value: String,
}

/// One more line of /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEntry {
    /// The address.
    pub address: IpAddr,
    /// The name.
    pub name: String,
}

/// The settings of the only network interface, eth0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkPlan {
    /// The guest's address.
    pub address: Ipv4Addr,
    /// The length of the subnet's prefix, 0 to 32.
    pub prefix: u8,
    /// Where everything else is sent.
    pub gateway: Option<Ipv4Addr>,
    /// The largest packet in bytes; `None` leaves the device's own.
    pub mtu: Option<u32>,
    /// For /etc/resolv.conf.
    pub dns: DnsPlan,
}

/// The content of /etc/resolv.conf.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsPlan {
    /// The servers, in order.
    pub servers: Vec<IpAddr>,
    /// The search domains, in order.
    pub search: Vec<String>,
    /// The options, such as `ndots:1`.
    pub options: Vec<String>,
}

/// Agent to host, if the plan asks for it: who the main process will run as, by the container's own /etc/passwd and
/// /etc/group. Root for a user that is not there; the process's request will then be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
}

/// Host to agent, the answer to [`Owner`]: files of the host now belong to this user, shares may be mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerTaken {}

/// Agent to host: everything of the plan stands, process connections are served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// When the agent's steps ended.
    pub times: BootTimes,
}

/// When each step of the agent ended, in nanoseconds since the kernel started (`CLOCK_BOOTTIME`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootTimes {
    /// The kernel ran the agent.
    pub started: u64,
    /// The modules that the connection needs are loaded.
    pub modules: u64,
    /// The control connection stands.
    pub connected: u64,
    /// The plan has arrived.
    pub planned: u64,
    /// The image is mounted, the writable layer lies over it.
    pub root: u64,
    /// All the rest is done.
    pub ready: u64,
}

/// Agent to host, instead of [`Ready`]: the plan could not be carried out. The machine then powers off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The step, such as `mount erofs`.
    pub what: String,
    /// What it was done to, such as `/dev/pmem0`.
    pub on: String,
    /// The kernel's error number, where the failure has one.
    pub errno: Option<i32>,
}

/// Host to agent: end the machine. The agent ends all processes, writes everything to the disk, answers with
/// [`Stopped`] and powers off. A connection that ends without this message means the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {}

/// Agent to host: nothing runs and nothing is left to write; the machine may be ended at any time from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {}

impl Message for Hello {
    const KIND: Kind = Kind::Hello;
}

impl Message for BootPlan {
    const KIND: Kind = Kind::BootPlan;
}

impl Message for Owner {
    const KIND: Kind = Kind::Owner;
}

impl Message for OwnerTaken {
    const KIND: Kind = Kind::OwnerTaken;
}

impl Message for Ready {
    const KIND: Kind = Kind::Ready;
}

impl Message for Failed {
    const KIND: Kind = Kind::Failed;
}

impl Message for Shutdown {
    const KIND: Kind = Kind::Shutdown;
}

impl Message for Stopped {
    const KIND: Kind = Kind::Stopped;
}
