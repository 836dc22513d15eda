//! The ACPI tables of a hardware-reduced machine (ACPI 6.5 section 4.1): no fixed hardware, no system control interrupt, no
//! PC devices. They name the CPUs, the interrupt controller, the virtio devices and the registers that end the machine.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Device, Interrupt, Memory32Fixed, Name, Package, Path, ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;

use super::{layout, ports};
use crate::devices::Slot;

const OEM: [u8; 6] = *b"CENOTE";
const TABLE: [u8; 8] = *b"CENOTEVM";
const REVISION: u32 = 1;

/// The hardware id under which Linux looks for virtio-mmio devices.
const VIRTIO_MMIO: &str = "LNRO0005";
/// The generic hardware id of a processor device (section 8.4), which the MADT's entries are matched with.
const PROCESSOR: &str = "ACPI0007";

/// `IAPC_BOOT_ARCH` (section 5.2.9.3): no VGA, no CMOS clock. No legacy devices and no 8042 are what zeros say.
const NO_VGA: u16 = 1 << 2;
const NO_CMOS_CLOCK: u16 = 1 << 5;

/// Bytes of a device's registers that a driver may ask for.
const REGISTERS_SIZE: u32 = cenote_virtio::mmio::PAGE_SIZE as u32;

/// The tables of a machine with `cpus` CPUs and virtio devices at `slots`, to be put at the guest-physical address `at`,
/// where the root pointer (RSDP) then is.
pub fn tables(cpus: u32, slots: &[Slot], at: u64) -> Vec<u8> {
    let mut tables = Tables {
        at,
        bytes: vec![0; Rsdp::len()],
    };
    let dsdt = tables.add(&dsdt(cpus, slots));
    let fadt = tables.add(&fadt(dsdt));
    let madt = tables.add(&madt(cpus));
    let mut xsdt = XSDT::new(OEM, TABLE, REVISION);
    xsdt.add_entry(fadt);
    xsdt.add_entry(madt);
    let xsdt = tables.add(&xsdt);
    let mut root = Vec::with_capacity(Rsdp::len());
    Rsdp::new(OEM, xsdt).to_aml_bytes(&mut root);
    tables.bytes[..root.len()].copy_from_slice(&root);
    tables.bytes
}

/// Tables one after the other.
struct Tables {
    at: u64,
    bytes: Vec<u8>,
}

impl Tables {
    /// Adds a table; returns its address.
    fn add(&mut self, table: &dyn Aml) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(16), 0);
        let address = self.at + self.bytes.len() as u64;
        table.to_aml_bytes(&mut self.bytes);
        address
    }
}

fn register(port: u16) -> GAS {
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        port.into(),
    )
}

fn fadt(dsdt: u64) -> impl Aml {
    let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::HwReducedAcpi)
        .flag(Flags::ResetRegSup)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::Headless);
    fadt.iapc_boot_arch = (NO_VGA | NO_CMOS_CLOCK).into();
    fadt.reset_reg = register(ports::RESET);
    fadt.reset_value = ports::RESET_VALUE;
    fadt.sleep_control_reg = register(ports::SLEEP_CONTROL);
    fadt.sleep_status_reg = register(ports::SLEEP_STATUS);
    fadt.finalize()
}

fn madt(cpus: u32) -> MADT {
    let local_apic = LocalInterruptController::Address(layout::LOCAL_APIC as u32);
    let mut madt = MADT::new(OEM, TABLE, REVISION, local_apic);
    for cpu in 0..cpus as u8 {
        madt.add_structure(ProcessorLocalApic::new(cpu, cpu, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, layout::IO_APIC as u32, 0));
    madt
}

fn dsdt(cpus: u32, slots: &[Slot]) -> Sdt {
    let mut body = Vec::new();
    let sleep = [ports::SLEEP_TYPE_S5, 0];
    Name::new(Path::new("_S5_"), &Package::new(vec![&sleep[0], &sleep[1]])).to_aml_bytes(&mut body);
    for cpu in 0..cpus {
        processor(cpu, &mut body);
    }
    for (index, slot) in (0..).zip(slots) {
        virtio(index, slot, &mut body);
    }
    let mut dsdt = Sdt::new(*b"DSDT", 36, 2, OEM, TABLE, REVISION);
    dsdt.append_slice(&body);
    dsdt
}

fn processor(cpu: u32, body: &mut Vec<u8>) {
    let (hardware, number) = (
        Name::new(Path::new("_HID"), &PROCESSOR),
        Name::new(Path::new("_UID"), &cpu),
    );
    let name = format!("C{cpu:03X}");
    let device = Device::new(Path::new(&name), vec![&hardware, &number]);
    Scope::new(Path::new("_SB_"), vec![&device]).to_aml_bytes(body);
}

fn virtio(index: u32, slot: &Slot, body: &mut Vec<u8>) {
    let hardware = Name::new(Path::new("_HID"), &VIRTIO_MMIO);
    let number = Name::new(Path::new("_UID"), &index);
    let registers = Memory32Fixed::new(true, slot.address as u32, REGISTERS_SIZE);
    let interrupt = Interrupt::new(true, true, false, false, slot.gsi);
    let resources = ResourceTemplate::new(vec![&registers, &interrupt]);
    let resources = Name::new(Path::new("_CRS"), &resources);
    let name = format!("V{index:03X}");
    let device = Device::new(Path::new(&name), vec![&hardware, &number, &resources]);
    Scope::new(Path::new("_SB_"), vec![&device]).to_aml_bytes(body);
}
