//! What a snapshot keeps of CPUs and interrupt controllers. KVM defines the structures.

use kvm_bindings::{
    KVM_CLOCK_TSC_STABLE, KVM_IRQCHIP_IOAPIC, KVM_IRQCHIP_PIC_MASTER, KVM_IRQCHIP_PIC_SLAVE, Msrs,
    kvm_clock_data, kvm_debugregs, kvm_irqchip, kvm_lapic_state, kvm_mp_state, kvm_msr_entry,
    kvm_regs, kvm_sregs, kvm_vcpu_events, kvm_xcrs, kvm_xsave, nested::KvmNestedStateBuffer,
};
use kvm_ioctls::{Cap, Kvm, VcpuFd, VmFd};
use serde::{Deserialize, Serialize};

use super::{Error, kvm};

/// MSRs that one `KVM_GET_MSRS` call takes at most (`MAX_IO_MSRS` of Linux).
const MSRS_AT_ONCE: usize = 256;

/// One CPU.
#[derive(Serialize, Deserialize)]
pub struct VcpuState {
    /// General registers.
    pub registers: kvm_regs,
    /// Segments, control registers, the APIC's base.
    pub system_registers: kvm_sregs,
    /// Floating point and vectors.
    pub xsave: kvm_xsave,
    /// Which parts of them are in use.
    pub extended_control: kvm_xcrs,
    /// Hardware breakpoints.
    pub debug_registers: kvm_debugregs,
    /// The local APIC.
    pub local_apic: kvm_lapic_state,
    /// Model-specific registers: those that this KVM says are to be saved.
    pub msrs: Vec<kvm_msr_entry>,
    /// Exceptions and interrupts on their way.
    pub events: kvm_vcpu_events,
    /// Whether it runs, waits or has never run.
    pub run_state: kvm_mp_state,
    /// Frequency of its time stamp counter in kHz.
    pub tsc_khz: u32,
    /// The virtual machine that it runs itself, if it is nested.
    pub nested: Option<KvmNestedStateBuffer>,
}

impl VcpuState {
    /// The state of a CPU that is outside of the guest.
    ///
    /// # Errors
    /// When KVM does not tell a part of it.
    pub fn save(kvm_device: &Kvm, vcpu: &VcpuFd) -> Result<Self, Error> {
        // In this order: reading the run state may deliver what the events then show (KVM's documentation of
        // KVM_GET_MP_STATE), and the deadline timer, an MSR, belongs to the APIC.
        let run_state = vcpu.get_mp_state().map_err(kvm("KVM_GET_MP_STATE"))?;
        Ok(Self {
            registers: vcpu.get_regs().map_err(kvm("KVM_GET_REGS"))?,
            system_registers: vcpu.get_sregs().map_err(kvm("KVM_GET_SREGS"))?,
            xsave: vcpu.get_xsave().map_err(kvm("KVM_GET_XSAVE"))?,
            extended_control: vcpu.get_xcrs().map_err(kvm("KVM_GET_XCRS"))?,
            debug_registers: vcpu.get_debug_regs().map_err(kvm("KVM_GET_DEBUGREGS"))?,
            local_apic: vcpu.get_lapic().map_err(kvm("KVM_GET_LAPIC"))?,
            msrs: msrs(kvm_device, vcpu)?,
            events: vcpu.get_vcpu_events().map_err(kvm("KVM_GET_VCPU_EVENTS"))?,
            run_state,
            tsc_khz: vcpu.get_tsc_khz().map_err(kvm("KVM_GET_TSC_KHZ"))?,
            nested: nested(kvm_device, vcpu)?,
        })
    }
}

fn nested(kvm_device: &Kvm, vcpu: &VcpuFd) -> Result<Option<KvmNestedStateBuffer>, Error> {
    if !kvm_device.check_extension(Cap::NestedState) {
        return Ok(None);
    }
    let mut state = KvmNestedStateBuffer::empty();
    let length = vcpu
        .nested_state(&mut state)
        .map_err(kvm("KVM_GET_NESTED_STATE"))?;
    Ok(length.map(|_| state))
}

/// Every register of the list that this CPU has; a register that it lacks ends a call early and is left out.
fn msrs(kvm_device: &Kvm, vcpu: &VcpuFd) -> Result<Vec<kvm_msr_entry>, Error> {
    let list = kvm_device
        .get_msr_index_list()
        .map_err(kvm("KVM_GET_MSR_INDEX_LIST"))?;
    let mut rest = list.as_slice();
    let mut saved = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let wanted: Vec<_> = rest
            .iter()
            .take(MSRS_AT_ONCE)
            .map(|&index| kvm_msr_entry {
                index,
                ..Default::default()
            })
            .collect();
        let Ok(mut entries) = Msrs::from_entries(&wanted) else {
            break;
        };
        let count = vcpu.get_msrs(&mut entries).map_err(kvm("KVM_GET_MSRS"))?;
        saved.extend_from_slice(&entries.as_slice()[..count]);
        let skipped = usize::from(count < wanted.len());
        rest = &rest[count + skipped..];
    }
    Ok(saved)
}

/// What all CPUs share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PlatformState {
    /// Both PICs and the I/O APIC.
    pub irqchips: [kvm_irqchip; 3],
    /// kvmclock.
    pub clock: kvm_clock_data,
}

impl PlatformState {
    /// The state of a machine whose CPUs are all outside of the guest.
    ///
    /// # Errors
    /// When KVM does not tell a part of it.
    pub fn save(vm: &VmFd) -> Result<Self, Error> {
        let chip = |id| {
            let mut chip = kvm_irqchip {
                chip_id: id,
                ..Default::default()
            };
            vm.get_irqchip(&mut chip)
                .map_err(kvm("KVM_GET_IRQCHIP"))
                .map(|()| chip)
        };
        let mut clock = vm.get_clock().map_err(kvm("KVM_GET_CLOCK"))?;
        // Told by KVM, and refused if it is told back.
        clock.flags &= !KVM_CLOCK_TSC_STABLE;
        Ok(Self {
            irqchips: [
                chip(KVM_IRQCHIP_PIC_MASTER)?,
                chip(KVM_IRQCHIP_PIC_SLAVE)?,
                chip(KVM_IRQCHIP_IOAPIC)?,
            ],
            clock,
        })
    }
}
