//! What this host offers a sandbox: kernels, QEMU, passt, and whether /dev/kvm can be used.

use std::sync::OnceLock;

use cenote_backend::Backend;
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
    /// KVM was asked for and does not work.
    #[error("--vmm kvm: {0}; leave --vmm out or use --vmm qemu")]
    NoKvm(Probe),
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

    /// What runs the machine of `spec`: KVM where it works, unless QEMU or one of its ways is asked for.
    ///
    /// # Errors
    /// [`Error::NoKvm`] when KVM is asked for and does not work, [`Error::Tool`] when there is no QEMU.
    pub fn backend(&self, spec: &Spec) -> Result<Backend, Error> {
        match (spec.vmm, spec.accel) {
            (Vmm::Kvm, _) if !self.kvm().is_usable() => Err(Error::NoKvm(self.kvm().clone())),
            (Vmm::Kvm, _) => Ok(Backend::Kvm),
            (Vmm::Auto, Accel::Auto) if self.kvm().is_usable() => Ok(Backend::Kvm),
            (Vmm::Auto | Vmm::Qemu, accel) => Ok(Backend::Qemu(Box::new(Qemu {
                command: self.tools.find(Kind::Qemu)?.command(),
                accel: self.accel(accel),
            }))),
        }
    }

    /// Who executes a guest's instructions under QEMU when `wanted` is wanted.
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
