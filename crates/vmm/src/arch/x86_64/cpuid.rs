//! What the guest's CPUs say of themselves: what KVM supports here, with the topology of this machine.

use kvm_bindings::{CpuId, KVM_MAX_CPUID_ENTRIES, kvm_cpuid_entry2};
use kvm_ioctls::{Cap, Kvm};

/// KVM's own leaf with its features (Documentation/virt/kvm/x86/cpuid.rst).
const KVM_FEATURES: u32 = 0x4000_0001;
/// `KVM_FEATURE_MSI_EXT_DEST_ID`: needs a device model for MSIs that this machine does not have.
const KVM_FEATURE_MSI_EXT_DEST_ID: u32 = 1 << 15;

/// The bits of leaf 1, ECX.
mod leaf1_ecx {
    pub const VMX: u32 = 1 << 5;
    pub const X2APIC: u32 = 1 << 21;
    pub const TSC_DEADLINE: u32 = 1 << 24;
    pub const HYPERVISOR: u32 = 1 << 31;
}
/// The bits of leaf 1, EDX.
mod leaf1_edx {
    pub const HTT: u32 = 1 << 28;
}
/// Leaf 0x8000_0001, ECX: SVM, performance counters of the core.
const SVM: u32 = 1 << 2;
const PERFCTR_CORE: u32 = 1 << 23;

/// What of the machine shows in CPUID.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Virtual CPUs: one package of as many cores.
    pub cpus: u32,
    /// Whether the guest may run virtual machines.
    pub nested: bool,
}

/// The leaves of every CPU, except for what differs between them ([`for_cpu`]).
///
/// # Errors
/// When KVM does not tell what it supports.
pub fn supported(kvm: &Kvm, shape: Shape) -> Result<CpuId, kvm_ioctls::Error> {
    let mut leaves = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)?;
    let deadline = kvm.check_extension(Cap::TscDeadlineTimer);
    for leaf in leaves.as_mut_slice() {
        adapt(leaf, shape, deadline);
    }
    Ok(leaves)
}

fn adapt(leaf: &mut kvm_cpuid_entry2, shape: Shape, deadline: bool) {
    let last = shape.cpus - 1;
    let id_bits = bits_for(shape.cpus);
    match (leaf.function, leaf.index) {
        (1, _) => {
            leaf.ebx = leaf.ebx & !0x00ff_0000 | (shape.cpus.min(255) << 16);
            leaf.ecx |= leaf1_ecx::HYPERVISOR | leaf1_ecx::X2APIC;
            if deadline {
                leaf.ecx |= leaf1_ecx::TSC_DEADLINE;
            }
            if !shape.nested {
                leaf.ecx &= !leaf1_ecx::VMX;
            }
            leaf.edx &= !leaf1_edx::HTT;
            if shape.cpus > 1 {
                leaf.edx |= leaf1_edx::HTT;
            }
        }
        // Cache parameters: the caches up to the second level belong to one core, the rest is shared by all.
        (4, _) if leaf.eax & 0x1f != 0 => {
            let level = leaf.eax >> 5 & 7;
            let sharing = if level >= 3 { last.min(0xfff) } else { 0 };
            leaf.eax = leaf.eax & 0x3fff | sharing << 14 | last.min(0x3f) << 26;
        }
        (0x8000_001d, _) if leaf.eax & 0x1f != 0 => {
            let level = leaf.eax >> 5 & 7;
            let sharing = if level >= 3 { last.min(0xfff) } else { 0 };
            leaf.eax = leaf.eax & 0x3fff | sharing << 14;
        }
        // No performance counters: KVM's are off unless a guest is to measure itself.
        (0xa, _) => (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, 0, 0),
        // Topology: level 0 is one thread, level 1 the cores of the only package.
        (0xb | 0x1f, 0) => {
            (leaf.eax, leaf.ebx, leaf.ecx) = (0, 1, 1 << 8);
        }
        (0xb | 0x1f, 1) => {
            (leaf.eax, leaf.ebx, leaf.ecx) = (id_bits, shape.cpus, 2 << 8 | 1);
        }
        (0xb | 0x1f, index) => {
            (leaf.eax, leaf.ebx, leaf.ecx) = (0, 0, index & 0xff);
        }
        (KVM_FEATURES, _) => leaf.eax &= !KVM_FEATURE_MSI_EXT_DEST_ID,
        (0x8000_0001, _) => {
            leaf.ecx &= !PERFCTR_CORE;
            if !shape.nested {
                leaf.ecx &= !SVM;
            }
        }
        (0x8000_0008, _) => {
            leaf.ecx = leaf.ecx & !0xf0ff | last & 0xff | id_bits << 12;
        }
        (0x8000_000a, _) if !shape.nested => {
            (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, 0, 0);
        }
        (0x8000_0022, _) => (leaf.eax, leaf.ebx, leaf.ecx, leaf.edx) = (0, 0, 0, 0),
        _ => {}
    }
}

/// How many bits tell `count` CPUs apart.
fn bits_for(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

/// The leaves of CPU `cpu`: those of all, with its own numbers.
pub fn for_cpu(common: &CpuId, cpu: u32) -> CpuId {
    let mut leaves = common.clone();
    for leaf in leaves.as_mut_slice() {
        match leaf.function {
            1 => leaf.ebx = leaf.ebx & 0x00ff_ffff | cpu << 24,
            0xb | 0x1f => leaf.edx = cpu,
            // One core in each compute unit, all in node 0.
            0x8000_001e => (leaf.eax, leaf.ebx, leaf.ecx) = (cpu, cpu & 0xff, 0),
            _ => {}
        }
    }
    leaves
}

/// How many bits a guest-physical address has.
pub fn physical_bits(leaves: &CpuId) -> u32 {
    leaves
        .as_slice()
        .iter()
        .find(|leaf| leaf.function == 0x8000_0008)
        .map_or(36, |leaf| leaf.eax & 0xff)
}

#[cfg(test)]
#[path = "cpuid_test.rs"]
mod tests;
