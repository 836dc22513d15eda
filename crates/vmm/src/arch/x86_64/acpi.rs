//! The ACPI tables of a hardware-reduced machine (ACPI 6.5 section 4.1): no fixed hardware, no system control interrupt, no
//! PC devices. They name the CPUs, the interrupt controllers, the virtio devices and the registers that end the machine.

use acpi_tables::aml::{
    Arg, Device, Equal, If, Interrupt, Memory32Fixed, Method, Name, Notify, Package, Path,
    ResourceTemplate, Scope,
};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{EnabledStatus, IoApic, ProcessorLocalApic};
use acpi_tables::rsdp::Rsdp;
use acpi_tables::sdt::Sdt;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};

use super::{layout, ports};
use crate::devices::Slot;

const OEM: [u8; 6] = *b"CENOTE";
const TABLE: [u8; 8] = *b"CENOTEVM";
const REVISION: u32 = 1;
/// Length of the header that tables begin with (section 5.2.6).
const HEADER_SIZE: u32 = 36;
/// Revision of the MADT (section 5.2.12).
const MADT_REVISION: u8 = 6;
/// Revision of the DSDT (section 5.2.11.1): its integers have 64 bits.
const DSDT_REVISION: u8 = 2;

/// The hardware id under which Linux looks for virtio-mmio devices.
const VIRTIO_MMIO: &str = "LNRO0005";
/// A processor (section 8.4). Each is declared here and in the MADT.
const PROCESSOR: &str = "ACPI0007";
/// The device that turns interrupts into notifications (section 5.6.9).
const GENERIC_EVENT_DEVICE: &str = "ACPI0013";
/// Our own name for the generation's device, since it must have one.
const VM_GENERATION: &str = "CNTE0001";
/// The name by which guests find it.
const VM_GENERATION_COMPATIBLE: &str = "VM_Gen_Counter";
/// What it notifies when the generation has changed.
const GENERATION_CHANGED: u8 = 0x80;

/// `IAPC_BOOT_ARCH` (section 5.2.9.3): no VGA, no CMOS clock. Zeros say that there are no legacy devices and no 8042, and
/// that message signalled interrupts work.
const NO_VGA: u16 = 1 << 2;
const NO_CMOS_CLOCK: u16 = 1 << 5;

/// The highest number that fits into the older kind of MADT entry: 255 means all CPUs there.
const MAX_LOCAL_APIC: u32 = 254;

/// Bytes of a device's registers that a driver may ask for.
const REGISTERS_SIZE: u32 = cenote_virtio::mmio::PAGE_SIZE as u32;

/// What the tables tell of a machine, beside what [`layout`] and [`ports`] say of all machines.
pub struct Description<'a> {
    /// How many CPUs there are.
    pub cpus: u32,
    /// Where the virtio devices are.
    pub virtio: &'a [Slot],
    /// Where the machine's generation is, if a clone of it must learn that it is one.
    pub generation: Option<Generation>,
}

/// Tells a guest that it goes on as somebody else: a clone, or an earlier state of itself ("Virtual Machine Generation
/// ID", Microsoft, 2012).
pub struct Generation {
    /// Guest-physical address of the 16 bytes that are other ones in each clone.
    pub address: u64,
    /// The interrupt line that tells of a change.
    pub gsi: u32,
}

/// The tables of a machine, to be put at the guest-physical address `at`, where the root pointer (RSDP) then is.
pub fn tables(machine: &Description<'_>, at: u64) -> Vec<u8> {
    let mut tables = Tables {
        at,
        bytes: vec![0; Rsdp::len()],
    };
    let dsdt = tables.add(&dsdt(machine));
    let fadt = tables.add(&fadt(dsdt));
    let madt = tables.add(&madt(machine.cpus));
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

fn table(signature: [u8; 4], revision: u8, body: &[u8]) -> Sdt {
    let mut table = Sdt::new(signature, HEADER_SIZE, revision, OEM, TABLE, REVISION);
    table.append_slice(body);
    table
}

/// The fixed description (section 5.2.9). There are no fixed buttons and no wake-up by a clock, which set bits say.
fn fadt(dsdt: u64) -> impl Aml {
    let mut fadt = FADTBuilder::new(OEM, TABLE, REVISION)
        .dsdt_64(dsdt)
        .flag(Flags::Wbinvd)
        .flag(Flags::PwrButton)
        .flag(Flags::SlpButton)
        .flag(Flags::FixRtc)
        .flag(Flags::ResetRegSup)
        .flag(Flags::Headless)
        .flag(Flags::HwReducedAcpi);
    fadt.iapc_boot_arch = (NO_VGA | NO_CMOS_CLOCK).into();
    fadt.reset_reg = register(ports::RESET);
    fadt.reset_value = ports::RESET_VALUE;
    fadt.sleep_control_reg = register(ports::SLEEP_CONTROL);
    fadt.sleep_status_reg = register(ports::SLEEP_STATUS);
    fadt.finalize()
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

/// The interrupt controllers (section 5.2.12). Flags of zero say that there are no two 8259 beside them, so that no line
/// is theirs and needs an override.
fn madt(cpus: u32) -> Sdt {
    let mut body = Vec::new();
    body.dword(layout::LOCAL_APIC as u32);
    body.dword(0);
    for cpu in 0..cpus {
        local_apic(cpu, &mut body);
    }
    IoApic::new(0, layout::IO_APIC as u32, 0).to_aml_bytes(&mut body);
    table(*b"APIC", MADT_REVISION, &body)
}

/// The local APIC of CPU number `cpu`, which has the same number.
fn local_apic(cpu: u32, body: &mut Vec<u8>) {
    if cpu <= MAX_LOCAL_APIC {
        let number = cpu as u8;
        ProcessorLocalApic::new(number, number, EnabledStatus::Enabled).to_aml_bytes(body);
        return;
    }
    // A local x2APIC (section 5.2.12.12): type, length, reserved, number, flags, number of the processor device.
    body.vec(&[9, 16, 0, 0]);
    body.dword(cpu);
    body.dword(EnabledStatus::Enabled as u32);
    body.dword(cpu);
}

/// The devices, and the type of sleep that is off (section 7.4.2).
fn dsdt(machine: &Description<'_>) -> Sdt {
    let mut body = Vec::new();
    let sleep = Package::new(vec![&ports::SLEEP_TYPE_S5, &0u8, &0u8, &0u8]);
    Name::new(Path::new("_S5_"), &sleep).to_aml_bytes(&mut body);
    let mut devices = Vec::new();
    for cpu in 0..machine.cpus {
        processor(cpu, &mut devices);
    }
    for (index, slot) in (0..).zip(machine.virtio) {
        virtio(index, slot, &mut devices);
    }
    if let Some(generation) = &machine.generation {
        vm_generation(generation, &mut devices);
    }
    body.extend(Scope::raw(Path::new("_SB_"), devices));
    table(*b"DSDT", DSDT_REVISION, &body)
}

fn processor(cpu: u32, devices: &mut Vec<u8>) {
    let (hardware, number) = (name("_HID", &PROCESSOR), name("_UID", &cpu));
    let path = Path::new(&format!("C{cpu:03X}"));
    Device::new(path, vec![&hardware, &number]).to_aml_bytes(devices);
}

fn virtio(index: u32, slot: &Slot, devices: &mut Vec<u8>) {
    let (hardware, number) = (name("_HID", &VIRTIO_MMIO), name("_UID", &index));
    // All registers are below 4 GiB.
    let registers = Memory32Fixed::new(true, slot.address as u32, REGISTERS_SIZE);
    let interrupt = edge(slot.gsi);
    let resources = ResourceTemplate::new(vec![&registers, &interrupt]);
    let resources = name("_CRS", &resources);
    let path = Path::new(&format!("V{index:03X}"));
    Device::new(path, vec![&hardware, &number, &resources]).to_aml_bytes(devices);
}

fn vm_generation(generation: &Generation, devices: &mut Vec<u8>) {
    let (low, high) = (generation.address as u32, (generation.address >> 32) as u32);
    Device::new(
        Path::new("VGEN"),
        vec![
            &name("_HID", &VM_GENERATION),
            &name("_CID", &VM_GENERATION_COMPATIBLE),
            &name("_DDN", &VM_GENERATION_COMPATIBLE),
            &name("ADDR", &Package::new(vec![&low, &high])),
        ],
    )
    .to_aml_bytes(devices);
    let interrupt = edge(generation.gsi);
    let resources = ResourceTemplate::new(vec![&interrupt]);
    let (device, line) = (Path::new("VGEN"), Equal::new(&Arg(0), &generation.gsi));
    let notify = Notify::new(&device, &GENERATION_CHANGED);
    Device::new(
        Path::new("GED_"),
        vec![
            &name("_HID", &GENERIC_EVENT_DEVICE),
            &name("_UID", &0u8),
            &name("_CRS", &resources),
            &Method::new(
                Path::new("_EVT"),
                1,
                true,
                vec![&If::new(&line, vec![&notify])],
            ),
        ],
    )
    .to_aml_bytes(devices);
}

fn name(path: &str, value: &dyn Aml) -> Name {
    Name::new(Path::new(path), value)
}

/// The interrupt line `gsi`: edge-triggered, active high, of one device alone.
fn edge(gsi: u32) -> Interrupt {
    Interrupt::new(true, true, false, false, gsi)
}

#[cfg(test)]
#[path = "acpi_test.rs"]
mod tests;
