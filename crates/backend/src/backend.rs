//! The implementations by name, behind one call.

use crate::kvm;
use crate::machine::{Machine, Pmem, Vm};
use crate::qemu::{self, Accel, Qemu};

/// What runs a machine on this host.
#[derive(Debug)]
pub enum Backend {
    /// This process, through /dev/kvm.
    Kvm,
    /// A QEMU child.
    Qemu(Box<Qemu>),
}

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// In this process.
    #[error(transparent)]
    Kvm(#[from] kvm::Error),
    /// Under QEMU.
    #[error(transparent)]
    Qemu(#[from] qemu::Error),
}

impl Backend {
    /// Starts `machine`. Call it from a thread that lives as long as the machine is to live.
    ///
    /// # Errors
    /// See [`StartError`]. A machine that its implementation refuses later starts and then stops as
    /// [`crate::Stopped::Failed`].
    pub fn start(self, machine: Machine) -> Result<Box<dyn Vm>, StartError> {
        Ok(match self {
            Self::Kvm => kvm::start(machine)?,
            Self::Qemu(qemu) => qemu.start(machine)?,
        })
    }

    /// How many virtio-pmem devices `pmem` becomes. QEMU's have one file each.
    #[must_use]
    pub fn pmem_devices(&self, pmem: &Pmem) -> usize {
        match self {
            Self::Kvm => 1,
            Self::Qemu(_) => pmem.files.len(),
        }
    }

    /// Whether a program executes the guest's instructions, which is slow.
    #[must_use]
    pub fn is_emulated(&self) -> bool {
        matches!(self, Self::Qemu(qemu) if qemu.accel == Accel::Tcg)
    }

    /// Whether the guest finds its devices on virtio-mmio instead of on PCI.
    #[must_use]
    pub fn has_mmio(&self) -> bool {
        matches!(self, Self::Kvm)
    }
}
