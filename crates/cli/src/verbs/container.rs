//! The flags that `run` and `create` share: everything that makes up a container.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use cenote_net::PublishedPort;
use clap::{Args, ValueEnum};

use crate::flags::cpus::Cpus;
use crate::flags::host::HostEntry;
use crate::flags::label::Label;
use crate::flags::mount::{PairsFlag, TmpfsFlag, VolumeFlag};
use crate::flags::name::Name;
use crate::flags::network::Network;
use crate::flags::process::ProcessFlags;
use crate::flags::refused::Refused;
use crate::flags::signal::Signal;
use crate::flags::size::Size;

/// When an image is fetched from its registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pull {
    /// Only if it is not in the store
    Missing,
    /// Every time
    Always,
    /// Not at all: it must be in the store
    Never,
}

/// What runs the virtual machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Vmm {
    /// The best that works here
    Auto,
    /// The built-in machine on /dev/kvm
    Kvm,
    /// QEMU
    Qemu,
}

/// What carries requests for shared folders to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ShareTransport {
    /// A virtio-fs device for each share
    Virtiofs,
    /// vsock, for comparison and for machine monitors without virtio-fs
    Vsock,
}

/// What QEMU runs the guest's instructions with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Accel {
    /// KVM if it works here, else emulation
    Auto,
    /// The processor, through /dev/kvm
    Kvm,
    /// Emulation, which works everywhere and is slow
    Tcg,
}

/// A container, as typed.
#[derive(Debug, Args)]
pub struct ContainerFlags {
    #[command(flatten)]
    pub process: ProcessFlags,

    /// Name of the container; without it one is made up
    #[arg(long)]
    pub name: Option<Name>,
    /// Remove a container that has the same name first
    #[arg(long, requires = "name")]
    pub replace: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    pub rm: bool,
    /// Program to run in place of the image's entrypoint; a JSON array gives arguments too
    #[arg(long, value_name = "PROGRAM")]
    pub entrypoint: Option<String>,
    /// Host name inside; without it the container's short id
    #[arg(long, value_name = "NAME", value_parser = hostname)]
    pub hostname: Option<String>,
    /// Attach a label
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub label: Vec<Label>,
    /// Write the container's id to a new file
    #[arg(long, value_name = "FILE")]
    pub cidfile: Option<PathBuf>,
    /// Run a small init that forwards signals and reaps processes left behind
    #[arg(long)]
    pub init: bool,
    /// Signal that `stop` sends first [default: the image's, else TERM]
    #[arg(long, value_name = "SIGNAL")]
    pub stop_signal: Option<Signal>,
    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub stop_timeout: u32,

    /// Virtual CPUs; fractions are rounded up [default: 1]
    #[arg(long, value_name = "NUMBER")]
    pub cpus: Option<Cpus>,
    /// Memory of the machine, such as 1g [default: 512m, with --nested 2g]
    #[arg(short, long, value_name = "SIZE")]
    pub memory: Option<Size>,
    /// Room for what the container writes, such as 4g [default: 10g]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<Size>,
    /// Make the root read-only, but for tmpfs on /run, /tmp and /var/tmp
    #[arg(long)]
    pub read_only: bool,
    /// Share a folder or file of the host, or a volume by its name; options: ro, noexec, cache=, idmap=, locks=
    #[arg(short, long, value_name = "[SOURCE:]TARGET[:OPTIONS]")]
    pub volume: Vec<VolumeFlag>,
    /// The same at length: type=bind|volume|tmpfs,source=...,target=...
    #[arg(long, value_name = "KEY=VALUE,...")]
    pub mount: Vec<PairsFlag>,
    /// Mount a file system in memory, such as /tmp:size=64m
    #[arg(long, value_name = "PATH[:OPTIONS]")]
    pub tmpfs: Vec<TmpfsFlag>,

    /// What carries requests for shared folders to the host [default: virtiofs]
    #[arg(long, value_name = "TRANSPORT")]
    pub share_transport: Option<ShareTransport>,

    /// Network: `default` reaches out through user-mode networking, `none` has only a loopback
    #[arg(
        long,
        visible_alias = "net",
        value_name = "NETWORK",
        default_value = "default"
    )]
    pub network: Network,
    /// Publish a port, on 127.0.0.1 unless an address is given
    #[arg(short, long, value_name = "[ADDRESS:]HOST:GUEST[/udp]")]
    pub publish: Vec<PublishedPort>,
    /// Add a line to /etc/hosts
    #[arg(long, value_name = "NAME:ADDRESS")]
    pub add_host: Vec<HostEntry>,
    /// Ask this name server
    #[arg(long, value_name = "ADDRESS")]
    pub dns: Vec<Ipv4Addr>,

    /// When to fetch the image
    #[arg(long, value_name = "POLICY", default_value = "missing")]
    pub pull: Pull,
    /// No progress, no notices
    #[arg(short, long)]
    pub quiet: bool,

    /// Guest kernel by its name in `cenote kernel ls` [default: the first there]
    #[arg(long, value_name = "NAME")]
    pub kernel: Option<String>,
    /// What runs the virtual machine
    #[arg(long, default_value = "auto")]
    pub vmm: Vmm,
    /// What QEMU runs the guest's instructions with
    #[arg(long, default_value = "auto")]
    pub accel: Accel,
    /// Let the container run containers of its own: `cenote run` in it works at once
    #[arg(long)]
    pub nested: bool,
    /// Image that a nested container finds in its store [default: the container's own]
    #[arg(long, value_name = "IMAGE", requires = "nested")]
    pub nested_image: Vec<String>,
    /// Read the image through the guest's page cache, for measurements
    #[arg(long, hide = true)]
    pub no_dax: bool,

    #[command(flatten)]
    pub refused: Refused,

    /// The image (a reference, oci:FOLDER, oci-archive:FILE or docker-archive:FILE), then the command
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "IMAGE [COMMAND [ARG]...]"
    )]
    pub image_and_command: Vec<String>,
}

impl ContainerFlags {
    /// The image's reference, as typed.
    pub fn image(&self) -> &str {
        &self.image_and_command[0]
    }

    /// The command that follows it; empty for the image's own.
    pub fn command(&self) -> &[String] {
        &self.image_and_command[1..]
    }
}

/// A host name of RFC 1123: at most 63 characters a label and 64 in all, the kernel's limit.
fn hostname(text: &str) -> Result<String, String> {
    let good = |label: &str| {
        let inner = label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        inner
            && !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= 64 && text.split('.').all(good) {
        true => Ok(text.to_owned()),
        false => {
            Err("a host name has letters, digits, `-` and `.`, at most 64 characters".to_owned())
        }
    }
}
