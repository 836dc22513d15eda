//! A sandbox's network, from the caller's view: started, handed to a virtual machine, stopped.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

use crate::egress::Rules;
use crate::passt::{self, Failure, Passt};
use crate::ports::{Claim, PortError, PublishedPort};
use crate::relay::Relay;
use crate::resolver::{ResolverConfig, ResolverError};
use crate::settings::GuestSettings;

/// How often free ports are picked again when others take them before passt opens them.
const ATTEMPTS: usize = 3;

/// What a sandbox wants of the network.
#[derive(Clone, Debug, Default)]
pub struct NetworkSpec {
    /// Ports of the host to forward into the guest.
    pub ports: Vec<PublishedPort>,
}

/// The network of one running sandbox. Dropping it ends passt and closes the published ports.
#[derive(Debug)]
pub struct Network {
    settings: GuestSettings,
    ports: Vec<PublishedPort>,
    // Fields are dropped in order: the relay first, so that passt sees the end of its socket.
    _relay: Relay,
    _passt: Passt,
}

/// Why a sandbox has no network.
#[derive(Debug, Error)]
pub enum StartError {
    /// passt is not there or cannot be executed.
    #[error("cannot run {}: {source}: install passt, or run without a network (--network none)", program.display())]
    Execute {
        /// The program as it was given.
        program: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A published port cannot be had.
    #[error(transparent)]
    Port(#[from] PortError),
    /// passt ended by itself.
    #[error("passt ended while it started; it said: {said} (its log: {})", log.display())]
    Ended {
        /// The end of its log.
        said: String,
        /// The whole log.
        log: PathBuf,
    },
    /// passt runs but does not answer.
    #[error("passt did not answer in time; it said: {said} (its log: {})", log.display())]
    Silent {
        /// The end of its log.
        said: String,
        /// The whole log.
        log: PathBuf,
    },
    /// The log cannot be opened.
    #[error("cannot open passt's log {}: {source}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The host's resolver configuration is unreadable.
    #[error(transparent)]
    Resolver(#[from] ResolverError),
    /// No socket or thread could be made.
    #[error("cannot connect passt with the virtual machine: {0}")]
    Connect(io::Error),
}

/// Starts a network by `passt` (the program, with a loader in front if it needs one) and returns it together with the
/// virtual machine's end of the stream, for QEMU's `-netdev stream,id=ID,server=off,addr.type=fd,addr.str=FD`.
///
/// What passt prints is appended to the file `log`. passt must be started from a thread that lives as long as the
/// sandbox, normally the main thread: it dies with that thread. Nothing else is left on disk.
pub fn start(
    passt: &Command,
    spec: &NetworkSpec,
    log: &Path,
) -> Result<(Network, OwnedFd), StartError> {
    let resolver = ResolverConfig::of_host()?;
    if resolver.nameservers.is_empty() {
        tracing::warn!(
            "/etc/resolv.conf names no IPv4 resolver: names cannot be resolved in the sandbox"
        );
    }
    let settings = GuestSettings::new(&resolver);
    let (process, ours, ports) = start_passt(passt, spec, settings.asks_forwarder(), log)?;
    let (guest_end, machine) = UnixStream::pair().map_err(StartError::Connect)?;
    let relay = Relay::start(machine, ours, Rules::new(&ports)).map_err(StartError::Connect)?;
    Ok((
        Network {
            settings,
            ports,
            _relay: relay,
            _passt: process,
        },
        guest_end.into(),
    ))
}

impl Network {
    /// What the guest must set on its interface.
    pub fn settings(&self) -> &GuestSettings {
        &self.settings
    }

    /// The published ports, each with the host port that it really has.
    pub fn ports(&self) -> &[PublishedPort] {
        &self.ports
    }
}

fn start_passt(
    passt: &Command,
    spec: &NetworkSpec,
    forward_dns: bool,
    log: &Path,
) -> Result<(Passt, UnixStream, Vec<PublishedPort>), StartError> {
    let (file, end) = passt::open_log(log).map_err(|source| StartError::Log {
        path: log.to_owned(),
        source,
    })?;
    let mut attempt = 1;
    loop {
        let ports = Claim::new(&spec.ports)?.release();
        let failure = match Passt::start(copy(passt), &ports, forward_dns, &file) {
            Ok((process, socket)) => return Ok((process, socket, ports)),
            Err(failure) => failure,
        };
        // Somebody may have been faster with a port. Of one that was asked for, this tells which.
        match Claim::new(&ports) {
            Err(PortError::Busy(_)) if attempt < ATTEMPTS && ports != spec.ports => attempt += 1,
            Err(busy) => return Err(busy.into()),
            Ok(_) => return Err(explain(failure, passt, || passt::quote(&file, end), log)),
        }
    }
}

fn explain(failure: Failure, passt: &Command, said: impl Fn() -> String, log: &Path) -> StartError {
    match failure {
        Failure::Spawn(source) => StartError::Execute {
            program: passt.get_program().into(),
            source,
        },
        Failure::Ended => StartError::Ended {
            said: said(),
            log: log.to_owned(),
        },
        Failure::Silent => StartError::Silent {
            said: said(),
            log: log.to_owned(),
        },
        Failure::Socket(source) => StartError::Connect(source),
    }
}

/// A `Command` starts with its program, arguments and environment; what a caller may have set beyond them (its
/// directory, its streams) is set by [`Passt::start`].
fn copy(command: &Command) -> Command {
    let mut copy = Command::new(command.get_program());
    copy.args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(name, value),
            None => copy.env_remove(name),
        };
    }
    copy
}
