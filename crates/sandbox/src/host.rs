//! What this host offers a sandbox: kernels, QEMU, passt, and whether /dev/kvm can be used.

use std::sync::OnceLock;

use cenote_backend::kvm::probe::{Probe, probe};
use cenote_backend::qemu::{self, Qemu};
use cenote_debian::tool::{Error as ToolError, Kind, Tool, Tools};
use cenote_kernel::Kernel;

use crate::paths::Paths;
use crate::spec::{Accel, Spec, Vmm};

/// What is missing on this host.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A kernel.
    #[error(transparent)]
    Kernel(#[from] cenote_kernel::Error),
    /// The in-process monitor was asked for.
    #[error(
        "--vmm kvm: this version has no in-process monitor yet; leave --vmm out or use --vmm qemu"
    )]
    NoKvmMonitor,
}

/// The host's side of every sandbox of one data folder.
#[derive(Debug)]
pub struct Host {
    kernels: cenote_kernel::Store,
    tools: Tools,
    kvm: OnceLock<Probe>,
}

impl Host {
    /// What the folders below `paths` and the host's own programs offer.
    pub fn new(paths: &Paths) -> Self {
        Self {
            kernels: paths.kernels(),
            tools: paths.tools(),
            kvm: OnceLock::new(),
        }
    }

    /// The guest kernel of this name or version, or the newest.
    ///
    /// # Errors
    /// [`Error::Kernel`] when there is none.
    pub fn kernel(&self, name: Option<&str>) -> Result<Kernel, Error> {
        Ok(self.kernels.choose(name)?)
    }

    /// passt.
    ///
    /// # Errors
    /// [`Error::Tool`] when there is none.
    pub fn passt(&self) -> Result<Tool, Error> {
        Ok(self.tools.find(Kind::Passt)?)
    }

    /// QEMU as `spec` wants it.
    ///
    /// # Errors
    /// [`Error::Tool`] when there is none, [`Error::NoKvmMonitor`] when it is not wanted.
    pub fn qemu(&self, spec: &Spec) -> Result<Qemu, Error> {
        if spec.vmm == Vmm::Kvm {
            return Err(Error::NoKvmMonitor);
        }
        Ok(Qemu {
            command: self.tools.find(Kind::Qemu)?.command(),
            accel: self.accel(spec.accel),
        })
    }

    /// Who executes a guest's instructions when `wanted` is wanted.
    pub fn accel(&self, wanted: Accel) -> qemu::Accel {
        match wanted {
            Accel::Kvm => qemu::Accel::Kvm,
            Accel::Tcg => qemu::Accel::Tcg,
            Accel::Auto if self.kvm().is_usable() => qemu::Accel::Kvm,
            Accel::Auto => qemu::Accel::Tcg,
        }
    }

    /// What /dev/kvm is good for here: a small guest is run once to know.
    pub fn kvm(&self) -> &Probe {
        self.kvm.get_or_init(probe)
    }
}
