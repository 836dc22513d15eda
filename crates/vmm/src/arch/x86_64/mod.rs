//! x86-64: a PC without a PC's devices.

pub mod acpi;
pub mod boot;
mod cpuid;
pub mod layout;
pub mod ports;
mod registers;
mod state;

use kvm_bindings::CpuId;
use kvm_ioctls::{Kvm, VcpuFd, VmFd};
use rustix::rand::{GetRandomFlags, getrandom};
use vm_memory::{Bytes, GuestAddress};

use acpi::Generation;
pub use boot::{Boot, Error as BootError};
pub use ports::Ports;
pub use state::{PlatformState, VcpuState};

use crate::devices::Slot;
use crate::memory::Memory;

/// The most CPUs of a machine: their numbers fit into the one byte of the local APICs' oldest fields.
pub const MAX_CPUS: u32 = 254;

/// Why the machine's processors or tables cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call of KVM failed.
    #[error("{call} failed: {source}")]
    Kvm {
        /// The call.
        call: &'static str,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
    /// The kernel cannot be started.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// No random bytes for what tells the machine from its clones.
    #[error("cannot get random bytes: {0}")]
    Random(rustix::io::Errno),
    /// RAM is not where the tables go.
    #[error("cannot write the tables that the kernel reads: {0}")]
    Tables(#[from] vm_memory::GuestMemoryError),
}

fn kvm(call: &'static str) -> impl FnOnce(kvm_ioctls::Error) -> Error {
    move |source| Error::Kvm { call, source }
}

/// What all CPUs of a machine have in common.
pub struct Platform {
    cpuid: CpuId,
}

impl Platform {
    /// The processors that `kvm` can give a machine of `cpus` CPUs.
    pub fn new(kvm_device: &Kvm, cpus: u32, nested: bool) -> Result<Self, Error> {
        let shape = cpuid::Shape { cpus, nested };
        let cpuid = cpuid::supported(kvm_device, shape).map_err(kvm("KVM_GET_SUPPORTED_CPUID"))?;
        Ok(Self { cpuid })
    }

    /// The first guest-physical address that does not exist.
    pub fn address_limit(&self) -> u64 {
        1u64.checked_shl(cpuid::physical_bits(&self.cpuid))
            .unwrap_or(u64::MAX)
    }

    /// Makes the interrupt controllers. Before any vCPU.
    pub fn set_up_vm(&self, vm: &VmFd) -> Result<(), Error> {
        // Needed by Intel's processors only; refused by others on some kernels.
        let _ = vm.set_identity_map_address(layout::IDENTITY_MAP);
        vm.set_tss_address(layout::TSS as usize)
            .map_err(kvm("KVM_SET_TSS_ADDR"))?;
        vm.create_irq_chip().map_err(kvm("KVM_CREATE_IRQCHIP"))
    }

    /// Prepares CPU number `cpu`; the first one starts at `entry`.
    pub fn set_up_vcpu(&self, vcpu: &VcpuFd, cpu: u32, entry: u64) -> Result<(), Error> {
        vcpu.set_cpuid2(&cpuid::for_cpu(&self.cpuid, cpu))
            .map_err(kvm("KVM_SET_CPUID2"))?;
        registers::set_firmware_state(vcpu).map_err(kvm("setting a CPU's firmware state"))?;
        if cpu == 0 {
            registers::set(vcpu, entry).map_err(kvm("setting the boot CPU's registers"))?;
        }
        Ok(())
    }
}

/// Puts the kernel and what it is told into RAM, for a machine of `cpus` CPUs with devices at `slots`. Returns where the
/// kernel starts.
pub fn load(
    memory: &Memory,
    boot: Boot<'_>,
    cpus: u32,
    slots: impl Iterator<Item = Slot>,
) -> Result<u64, Error> {
    let ram = memory.ram();
    registers::write_tables(ram)?;
    let slots: Vec<_> = slots.collect();
    let machine = acpi::Description {
        cpus,
        virtio: &slots,
        generation: Some(Generation {
            address: layout::GENERATION,
            gsi: layout::GENERATION_GSI,
        }),
    };
    let tables = acpi::tables(&machine, layout::ACPI.start);
    debug_assert!(layout::ACPI.start + tables.len() as u64 <= layout::GENERATION);
    ram.write_slice(&tables, GuestAddress(layout::ACPI.start))?;
    let mut generation = [0; 16];
    getrandom(&mut generation, GetRandomFlags::empty()).map_err(Error::Random)?;
    ram.write_slice(&generation, GuestAddress(layout::GENERATION))?;
    Ok(boot::load(ram, boot)?)
}
