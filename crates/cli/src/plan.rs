//! From typed to meant: the flags of `run` and `create`, an image's configuration and the caller's environment
//! become the specification of a sandbox. Nothing here touches the machine but reading `--env-file`
//! and looking whether what is to be shared is there.

use cenote_protocol::{Capabilities, OUTER, ProcessSpec};
use cenote_sandbox::Spec;
use cenote_sandbox::mount::{Mount, Transport};
use cenote_sandbox::spec::{self, Accel, Image, Nested, Network, Resources, Vmm};
use oci_spec::image::{Config, ImageConfiguration};

use crate::flags::entrypoint::Entrypoint;
use crate::flags::env::{Env, EnvError};
use crate::flags::network::Network as NetworkFlag;
use crate::flags::refused::NotSupported;
use crate::flags::signal::Signal;
use crate::flags::size::Size;
use crate::mounts::{self, MountError};
use crate::terminal::window_size;
use crate::verbs::container::{self, ContainerFlags};

/// Less than this a guest kernel does not boot in.
const MIN_MEMORY: Size = Size(spec::MIN_MEMORY);

/// Less than this the writable layer's file system does not fit in.
const MIN_DISK: Size = Size(16 << 20);

/// Memory of a machine that runs others, if the user says nothing: room for two ordinary ones. What is not used is
/// not taken from the host.
const NESTED_MEMORY: u64 = 2 << 30;

/// The search path of an image that sets none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a command line makes no container.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// A flag of podman's.
    #[error(transparent)]
    NotSupported(#[from] NotSupported),
    /// A variable or a file of variables.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// A mount.
    #[error(transparent)]
    Mount(#[from] MountError),
    /// `--network none` and a flag that needs one.
    #[error("--publish and --dns need a network: leave out --network none")]
    NoNetwork,
    /// Too little memory.
    #[error("--memory {0} is too little: a guest kernel needs {MIN_MEMORY}")]
    Memory(Size),
    /// Too little disk.
    #[error("--disk {0} is too little: a file system needs {MIN_DISK}")]
    Disk(Size),
    /// Neither flags nor image say what to run.
    #[error("image {0} has no command of its own: give one behind the image's name")]
    NoCommand(String),
}

/// What a command line asks for, checked.
#[derive(Debug)]
pub struct Plan<'a> {
    flags: &'a ContainerFlags,
    env: Env,
    mounts: Vec<Mount>,
}

impl<'a> Plan<'a> {
    /// Checks the flags and resolves their variables in the environment `host`.
    pub fn new(flags: &'a ContainerFlags, host: &Env) -> Result<Self, PlanError> {
        flags.refused.check()?;
        let wants_network = !flags.publish.is_empty() || !flags.dns.is_empty();
        if flags.network == NetworkFlag::None && wants_network {
            return Err(PlanError::NoNetwork);
        }
        if let Some(memory) = flags.memory.filter(|memory| *memory < MIN_MEMORY) {
            return Err(PlanError::Memory(memory));
        }
        if let Some(disk) = flags.disk.filter(|disk| *disk < MIN_DISK) {
            return Err(PlanError::Disk(disk));
        }
        Ok(Self {
            flags,
            mounts: mounts::typed(flags)?,
            env: flags.process.env(host)?,
        })
    }

    /// The sandbox called `name` that runs `image`, whose configuration is `config`, and finds the images `nested` in
    /// its own store if it runs others.
    pub fn spec(
        &self,
        name: String,
        image: Image,
        config: &ImageConfiguration,
        nested: &[Image],
    ) -> Result<Spec, PlanError> {
        let flags = self.flags;
        let config = config.config().clone().unwrap_or_default();
        let image_signal = || {
            config
                .stop_signal()
                .as_deref()
                .and_then(|text| text.parse().ok())
        };
        let Signal(stop_signal) = flags
            .stop_signal
            .or_else(image_signal)
            .unwrap_or(Signal(15));
        let labels = flags
            .label
            .iter()
            .map(|label| (label.name.clone(), label.value.clone()));
        Ok(Spec {
            name,
            process: self.process(&image, &config)?,
            image,
            hostname: flags.hostname.clone(),
            resources: self.resources(),
            read_only: flags.read_only,
            dax: !flags.no_dax,
            mounts: self.mounts(&config),
            share_transport: flags.share_transport.map(|transport| match transport {
                container::ShareTransport::Virtiofs => Transport::VirtioFs,
                container::ShareTransport::Vsock => Transport::Vsock,
            }),
            network: self.network(),
            remove_on_exit: flags.rm,
            labels: labels.collect(),
            stop_signal,
            stop_timeout: flags.stop_timeout,
            kernel: flags.kernel.clone(),
            vmm: match flags.vmm {
                container::Vmm::Auto => Vmm::Auto,
                container::Vmm::Kvm => Vmm::Kvm,
                container::Vmm::Qemu => Vmm::Qemu,
            },
            accel: match flags.accel {
                container::Accel::Auto => Accel::Auto,
                container::Accel::Kvm => Accel::Kvm,
                container::Accel::Tcg => Accel::Tcg,
            },
            nested: flags.nested.then(|| Nested {
                images: nested.to_vec(),
            }),
        })
    }

    fn process(&self, image: &Image, config: &Config) -> Result<ProcessSpec, PlanError> {
        let typed = &self.flags.process;
        let args = self.args(config);
        if args.is_empty() {
            return Err(PlanError::NoCommand(image.reference.clone()));
        }
        let user = typed.user.clone().or_else(|| config.user().clone());
        let (cwd, create_cwd) = match &typed.workdir {
            Some(path) => (path.clone(), false),
            None => (image_workdir(config), true),
        };
        Ok(ProcessSpec {
            args,
            env: self.environment(config),
            cwd,
            create_cwd,
            user: user.unwrap_or_default(),
            terminal: typed.tty.then(window_size),
            stdin: typed.interactive,
            capabilities: Capabilities::DEFAULT,
            rlimits: Vec::new(),
            no_new_privileges: false,
            init: self.flags.init,
        })
    }

    /// Entrypoint and command, each by the flags or else by the image; an entrypoint that is given drops the image's
    /// command, which was meant for another.
    fn args(&self, config: &Config) -> Vec<String> {
        let Entrypoint(mut args) = match &self.flags.entrypoint {
            Some(text) => Entrypoint::from(text.as_str()),
            None => Entrypoint(config.entrypoint().clone().unwrap_or_default()),
        };
        match (self.flags.command(), &self.flags.entrypoint) {
            ([], None) => args.extend(config.cmd().clone().unwrap_or_default()),
            (command, _) => args.extend_from_slice(command),
        }
        args
    }

    /// The image's variables, then the flags'.
    fn environment(&self, config: &Config) -> Vec<String> {
        let mut env = Env::from([("container".to_owned(), "cenote".to_owned())]);
        let image = config.env().iter().flatten();
        env.extend(
            image
                .filter_map(|text| text.split_once('='))
                .map(|(name, value)| (name.into(), value.into())),
        );
        env.extend(self.env.clone());
        if self.flags.nested {
            let path = env.get("PATH").map_or(DEFAULT_PATH, String::as_str);
            let path = format!("{path}:{OUTER}/bin");
            env.insert("PATH".to_owned(), path);
        }
        env.into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect()
    }

    fn resources(&self) -> Resources {
        let default = Resources::default();
        let memory = match self.flags.nested {
            true => NESTED_MEMORY,
            false => default.memory,
        };
        Resources {
            cpus: self.flags.cpus.map_or(default.cpus, |cpus| cpus.0),
            memory: self.flags.memory.map_or(memory, |size| size.0),
            disk: self.flags.disk.map_or(default.disk, |size| size.0),
        }
    }

    /// The mounts that were asked for, and under a read-only root what is needed beside.
    fn mounts(&self, config: &Config) -> Vec<Mount> {
        let mut mounts = self.mounts.clone();
        if self.flags.read_only {
            let declared = config.volumes().iter().flatten();
            mounts::for_read_only_root(&mut mounts, declared);
        }
        mounts
    }

    fn network(&self) -> Network {
        match self.flags.network {
            NetworkFlag::None => Network::None,
            NetworkFlag::Default => Network::Default {
                ports: self.flags.publish.clone(),
                dns: self.flags.dns.clone(),
                add_hosts: self
                    .flags
                    .add_host
                    .iter()
                    .map(|host| (host.name.clone(), host.address))
                    .collect(),
            },
        }
    }
}

/// The image's working directory, which may be missing or relative to the root.
fn image_workdir(config: &Config) -> String {
    let path = config.working_dir().as_deref().unwrap_or_default();
    format!("/{}", path.trim_start_matches('/'))
}

#[cfg(test)]
#[path = "plan_test.rs"]
mod tests;
