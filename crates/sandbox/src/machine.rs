//! From a sandbox's specification to the machine that runs it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::iter;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cenote_backend::machine::Network as Card;
use cenote_backend::{Backend, Disk, Machine, Pmem};
use cenote_fuse::passthrough::Changes;
use cenote_image::{Image, Lease};
use cenote_kernel::{Group, Init};
use cenote_net::{GuestSettings, NetworkSpec};
use cenote_protocol::{
    BootPlan, ContainerPlan, DnsPlan, ErofsPlan, HostEntry, MountPlan, MountSource, NestedPlan,
    NetworkPlan, Writable,
};

use crate::disk;
use crate::host::Host;
use crate::nesting;
use crate::observe::Observed;
use crate::sandbox::Sandbox;
use crate::share::{self, Servers, Shares};
use crate::share_port::SharePort;
use crate::spec::{self, MIN_MEMORY, Network, Spec};

/// The agent, built with this library.
pub(crate) const AGENT: Init<'_> = Init {
    program: include_bytes!(env!("CENOTE_GUEST")),
    digest: env!("CENOTE_GUEST_DIGEST"),
};

/// /dev/shm's size, as container engines choose it.
const SHM_BYTES: u64 = 64 << 20;

/// The guest's kernel keeps 64 bytes about each 4 KiB that it maps: 1/64 of an image's length in guest RAM.
const PAGE_STRUCTURES: u64 = 64;

/// Why a machine could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image is not in the store any more.
    #[error("cannot use the image {reference}: {source}")]
    Image {
        /// As the user named it.
        reference: String,
        /// The store's reason.
        source: Box<cenote_image::Error>,
    },
    /// No usable guest kernel.
    #[error(transparent)]
    Kernel(#[from] cenote_kernel::Error),
    /// The writable layer could not be made.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The network could not be started.
    #[error(transparent)]
    Network(#[from] cenote_net::StartError),
    /// A program that is needed is not there.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// Nothing can be lent to a sandbox that runs others.
    #[error(transparent)]
    Nesting(#[from] nesting::Error),
    /// A directory, file or volume cannot be shared.
    #[error(transparent)]
    Share(#[from] share::Error),
    /// The memory does not suffice for the image's page structures.
    #[error(
        "{memory} MiB of memory are too little: the {image} MiB of images take {tax} MiB of page structures in the guest; \
         give at least {least} MiB (--memory {least}m)"
    )]
    Memory {
        /// What the specification gives, in MiB.
        memory: u64,
        /// The image's length in MiB.
        image: u64,
        /// Its page structures in MiB.
        tax: u64,
        /// What suffices, in MiB.
        least: u64,
    },
    /// A file of the sandbox could not be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

/// A machine ready to start, with what must live as long as it does.
#[derive(Debug)]
pub(crate) struct Assembly {
    pub machine: Machine,
    pub plan: BootPlan,
    /// To be told who the container's main process is.
    pub servers: Servers,
    /// Volumes that the guest fills; nobody else may until it is ready.
    pub filling: Vec<File>,
    /// What others change in shares, if that can be noticed.
    pub changes: Option<Arc<Changes>>,
    /// What is known of their work.
    pub observed: Observed,
    pub held: Held,
}

/// Dropped after the machine has stopped.
#[derive(Debug)]
pub(crate) struct Held {
    _leases: Vec<Lease>,
    _tools: Option<nesting::Held>,
    _network: Option<cenote_net::Network>,
    _ports: Vec<SharePort>,
}

/// Puts the machine of `sandbox` together, for `backend` to start.
pub(crate) fn assemble(
    sandbox: &Sandbox,
    host: &Host,
    backend: &Backend,
) -> Result<Assembly, Error> {
    let spec = sandbox.spec();
    let kernel = host.kernel(spec.kernel.as_deref())?;
    let groups = groups(
        backend.has_mmio(),
        matches!(spec.network, Network::Default { .. }),
        !spec.read_only,
        spec.nested.is_some(),
    );
    kernel.check(&groups)?;
    let (image, lease) = leased(sandbox, &spec.image)?;
    let mut leases = vec![lease];
    let mut pmem = Vec::new();
    let mut attach = |files: Vec<PathBuf>| {
        let first = pmem.iter().map(|pmem| backend.pmem_devices(pmem)).sum();
        let image = Pmem { files };
        let plan = tree(spec, first, backend.pmem_devices(&image));
        pmem.push(image);
        plan
    };
    let root = attach(iter::once(image.meta).chain(image.layers).collect());
    let mut loan = None;
    let mut nested = None;
    if let Some(wanted) = &spec.nested {
        let mut images = Vec::new();
        for image in &wanted.images {
            let (image, lease) = leased(sandbox, image)?;
            images.push(image);
            leases.push(lease);
        }
        let lent = nesting::lend(sandbox, host, &kernel, &images)?;
        nested = Some(NestedPlan {
            outer: attach(lent.pmem),
        });
        loan = Some(lent.tools);
    }
    check_memory(spec, &pmem)?;
    let shares = Shares::serve(sandbox)?;
    let servers = shares.servers();
    let log = open_log(sandbox)?;
    let (network, card) = network(sandbox, host)?.unzip();
    let disk = writable_disk(sandbox)?;
    let plan = plan(
        sandbox,
        root,
        nested,
        shares.mounts,
        disk.is_some(),
        network.as_ref().map(cenote_net::Network::settings),
    );
    let machine = Machine {
        initramfs: cenote_kernel::initramfs(&kernel, AGENT, &groups)?,
        command_line: kernel.command_line(),
        kernel: kernel.vmlinux,
        cpus: spec.resources.cpus,
        memory: spec.resources.memory,
        nested: spec.nested.is_some(),
        pmem,
        disks: disk.into_iter().collect(),
        shares: shares.devices,
        vsock: sandbox.vsock(),
        network: card,
        log,
    };
    Ok(Assembly {
        machine,
        plan,
        servers,
        filling: shares.filling,
        changes: shares.changes,
        observed: shares.observed.into(),
        held: Held {
            _leases: leases,
            _tools: loan,
            _network: network,
            _ports: shares.ports,
        },
    })
}

/// The modules that this machine uses.
pub(crate) fn groups(mmio: bool, network: bool, disk: bool, nested: bool) -> Vec<Group> {
    let mut groups = vec![Group::Vsock, Group::Root];
    groups.extend(mmio.then_some(Group::Mmio));
    groups.extend(network.then_some(Group::Network));
    groups.extend(disk.then_some(Group::Disk));
    groups.extend(nested.then_some(Group::Nested));
    groups
}

/// The EROFS tree over `devices` pmem devices.
fn tree(spec: &Spec, first: usize, devices: usize) -> ErofsPlan {
    let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
    ErofsPlan {
        first: number(first),
        devices: number(devices),
        dax: spec.dax,
    }
}

fn leased(sandbox: &Sandbox, wanted: &spec::Image) -> Result<(Image, Lease), Error> {
    let failed = |source| Error::Image {
        reference: wanted.reference.clone(),
        source: Box::new(source),
    };
    let store = sandbox.paths().images().map_err(failed)?;
    let image = store.resolve(&wanted.id).map_err(failed)?;
    let lease = store.lease(&image).map_err(failed)?;
    Ok((image, lease))
}

fn check_memory(spec: &Spec, pmem: &[Pmem]) -> Result<(), Error> {
    let lengths = pmem
        .iter()
        .flat_map(|image| &image.files)
        .map(|path| fs::metadata(path).map(|file| file.len()).map_err(at(path)));
    let image = lengths.sum::<Result<u64, Error>>()?;
    let tax = image / PAGE_STRUCTURES;
    let least = MIN_MEMORY + tax;
    if spec.resources.memory >= least {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Err(Error::Memory {
        memory: mib(spec.resources.memory),
        image: mib(image),
        tax: mib(tax),
        least: mib(least),
    })
}

fn open_log(sandbox: &Sandbox) -> Result<File, Error> {
    let path = sandbox.file("machine.log");
    OpenOptions::new()
        .create(true)
        .write(true)
        .read(true)
        .truncate(true)
        .open(&path)
        .map_err(at(&path))
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// The network, and the end of it that the machine gets.
fn network(sandbox: &Sandbox, host: &Host) -> Result<Option<(cenote_net::Network, Card)>, Error> {
    let Network::Default { ports, .. } = &sandbox.spec().network else {
        return Ok(None);
    };
    let spec = NetworkSpec {
        ports: ports.clone(),
    };
    let (network, stream) =
        cenote_net::start(&host.passt()?.command(), &spec, &sandbox.file("passt.log"))?;
    let GuestSettings { mac, mtu, .. } = *network.settings();
    Ok(Some((network, Card { stream, mac, mtu })))
}

/// The writable layer's disk. One that is there already holds what the container wrote when it ran before.
fn writable_disk(sandbox: &Sandbox) -> Result<Option<Disk>, Error> {
    let spec = sandbox.spec();
    if spec.read_only {
        return Ok(None);
    }
    let path = sandbox.disk();
    if !path.exists() {
        disk::make(sandbox.paths(), &path, spec.resources.disk)?;
    }
    Ok(Some(Disk {
        path,
        read_only: false,
        ephemeral: spec.remove_on_exit,
    }))
}

fn plan(
    sandbox: &Sandbox,
    root: ErofsPlan,
    nested: Option<NestedPlan>,
    mounts: Vec<MountPlan>,
    disk: bool,
    network: Option<&GuestSettings>,
) -> BootPlan {
    let spec = sandbox.spec();
    let (dns, hosts) = match &spec.network {
        Network::Default { dns, add_hosts, .. } => (dns.as_slice(), add_hosts.as_slice()),
        Network::None => (&[][..], &[][..]),
    };
    BootPlan {
        wall_clock_ns: 0,
        network: network.map(|settings| network_plan(settings, dns)),
        sysctls: Vec::new(),
        container: ContainerPlan {
            hostname: spec
                .hostname
                .clone()
                .unwrap_or_else(|| sandbox.short_id().to_owned()),
            root,
            writable: if disk {
                Writable::Disk {
                    device: "vda".to_owned(),
                }
            } else {
                Writable::ReadOnly
            },
            owner: mounts
                .iter()
                .any(is_share)
                .then(|| spec.process.user.clone()),
            mounts,
            shm_bytes: SHM_BYTES,
            hosts: hosts
                .iter()
                .map(|(name, address)| HostEntry {
                    address: (*address).into(),
                    name: name.clone(),
                })
                .collect(),
            nested,
        },
    }
}

fn is_share(mount: &MountPlan) -> bool {
    matches!(mount.source, MountSource::Share { .. })
}

fn network_plan(settings: &GuestSettings, dns: &[Ipv4Addr]) -> NetworkPlan {
    let servers = if dns.is_empty() {
        &settings.nameservers
    } else {
        dns
    };
    NetworkPlan {
        address: settings.address,
        prefix: settings.prefix,
        gateway: Some(settings.gateway),
        mtu: Some(settings.mtu.into()),
        dns: DnsPlan {
            servers: servers.iter().map(|&server| server.into()).collect(),
            search: settings.search.clone(),
            options: Vec::new(),
        },
    }
}
