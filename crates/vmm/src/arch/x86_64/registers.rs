//! The registers and tables with which a CPU enters a kernel in 64-bit mode (boot.rst: flat segments, paging with the
//! kernel, boot parameters and command line mapped one to one, interrupts off).

use kvm_bindings::{Msrs, kvm_fpu, kvm_msr_entry, kvm_regs, kvm_segment, kvm_sregs};
use kvm_ioctls::VcpuFd;
use vm_memory::{Bytes, GuestAddress, GuestMemoryError, GuestMemoryMmap};

use super::layout;

/// `__BOOT_CS` and `__BOOT_DS` of the boot protocol.
const CODE_SELECTOR: u16 = 0x10;
const DATA_SELECTOR: u16 = 0x18;
/// Code: execute and read, accessed. Data: read and write, accessed.
const CODE_TYPE: u8 = 0xb;
const DATA_TYPE: u8 = 0x3;

const CR0_PE_ET_NE_PG: u64 = 1 | 1 << 4 | 1 << 5 | 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;
/// Reserved, always set.
const RFLAGS: u64 = 2;

/// `IA32_APIC_BASE`: enabled, in x2APIC mode. Kernels then never touch the APIC's memory, each access of which would be
/// an exit and an emulated instruction.
const APIC_ENABLE_X2APIC: u64 = 1 << 11 | 1 << 10;

/// What firmware would have written to model-specific registers.
const FIRMWARE_MSRS: [(u32, u64); 2] = [
    // IA32_MISC_ENABLE: fast strings.
    (0x1a0, 1),
    // IA32_MTRR_DEF_TYPE: everything may be cached. Linux maps pmem uncached where this register does not say so.
    (0x2ff, 1 << 11 | 6),
];

fn segment(selector: u16, kind: u8) -> kvm_segment {
    let code = kind == CODE_TYPE;
    kvm_segment {
        base: 0,
        limit: u32::MAX,
        selector,
        type_: kind,
        present: 1,
        s: 1,
        g: 1,
        l: code.into(),
        db: (!code).into(),
        ..Default::default()
    }
}

/// A descriptor of a flat segment (AMD64 manual volume 2, section 4.7).
fn descriptor(segment: &kvm_segment) -> u64 {
    let flags = u64::from(segment.type_)
        | u64::from(segment.s) << 4
        | u64::from(segment.present) << 7
        | u64::from(segment.l) << 13
        | u64::from(segment.db) << 14
        | u64::from(segment.g) << 15;
    0xffff | flags << 40 | 0xf << 48
}

/// Writes the descriptor table, and page tables that map the first GiB one to one by pages of 2 MiB.
pub fn write_tables(memory: &GuestMemoryMmap) -> Result<(), GuestMemoryError> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let table = [
        0,
        0,
        descriptor(&segment(CODE_SELECTOR, CODE_TYPE)),
        descriptor(&segment(DATA_SELECTOR, DATA_TYPE)),
    ];
    for (index, entry) in (0..).zip(table) {
        memory.write_obj(entry, GuestAddress(layout::GDT + 8 * index))?;
    }
    let [pml4, pdpt, pd] = [0, 0x1000, 0x2000].map(|offset| layout::PAGE_TABLES + offset);
    memory.write_obj(pdpt | PRESENT_WRITABLE, GuestAddress(pml4))?;
    memory.write_obj(pd | PRESENT_WRITABLE, GuestAddress(pdpt))?;
    for index in 0..512 {
        let entry = index << 21 | PRESENT_WRITABLE | LARGE;
        memory.write_obj(entry, GuestAddress(pd + 8 * index))?;
    }
    Ok(())
}

/// Sets the boot CPU's registers so that it starts at `entry`. The other CPUs wait for it, as after a reset.
pub fn set(vcpu: &VcpuFd, entry: u64) -> Result<(), kvm_ioctls::Error> {
    let mut system = vcpu.get_sregs()?;
    enter_long_mode(&mut system);
    vcpu.set_sregs(&system)?;
    vcpu.set_regs(&kvm_regs {
        rip: entry,
        rsi: layout::BOOT_PARAMS,
        rflags: RFLAGS,
        ..Default::default()
    })?;
    vcpu.set_fpu(&kvm_fpu {
        fcw: 0x37f,
        mxcsr: 0x1f80,
        ..Default::default()
    })
}

/// Switches the CPU's interrupt controller to x2APIC mode and sets what firmware would set.
pub fn set_firmware_state(vcpu: &VcpuFd) -> Result<(), kvm_ioctls::Error> {
    let mut system = vcpu.get_sregs()?;
    system.apic_base |= APIC_ENABLE_X2APIC;
    vcpu.set_sregs(&system)?;
    let entries = FIRMWARE_MSRS.map(|(index, data)| kvm_msr_entry {
        index,
        data,
        ..Default::default()
    });
    for entry in entries {
        if let Ok(msrs) = Msrs::from_entries(&[entry]) {
            // A processor without the register does not need it.
            let _ = vcpu.set_msrs(&msrs);
        }
    }
    Ok(())
}

fn enter_long_mode(system: &mut kvm_sregs) {
    let data = segment(DATA_SELECTOR, DATA_TYPE);
    system.cs = segment(CODE_SELECTOR, CODE_TYPE);
    (system.ds, system.es, system.ss) = (data, data, data);
    (system.fs, system.gs) = (data, data);
    system.gdt.base = layout::GDT;
    system.gdt.limit = 4 * 8 - 1;
    system.idt.base = 0;
    system.idt.limit = 0;
    system.cr0 = CR0_PE_ET_NE_PG;
    system.cr3 = layout::PAGE_TABLES;
    system.cr4 = CR4_PAE;
    system.efer = EFER_LME_LMA;
}
