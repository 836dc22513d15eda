use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::*;

const AT: u64 = layout::ACPI.start;
const GENERATION: Generation = Generation {
    address: 0x1_2345_6780,
    gsi: 20,
};

/// The tables of a machine with everything.
fn everything(cpus: u32) -> Vec<u8> {
    let slots: Vec<_> = (0..4).map(crate::devices::slot).collect();
    let machine = Description {
        cpus,
        virtio: &slots,
        generation: Some(GENERATION),
    };
    tables(&machine, AT)
}

fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at guest-physical `address`, with its signature, as a kernel finds it.
fn table_at(bytes: &[u8], address: u64) -> (String, &[u8]) {
    let start = usize::try_from(address - AT).unwrap();
    let table = &bytes[start..start + u32_at(bytes, start + 4) as usize];
    assert_eq!(sum(table), 0);
    (String::from_utf8(table[..4].to_vec()).unwrap(), table)
}

/// Follows the pointers from the root to all tables.
fn all_tables(bytes: &[u8]) -> Vec<(String, &[u8])> {
    assert_eq!(bytes[..8], *b"RSD PTR ");
    assert_eq!(bytes[15], 2);
    assert_eq!((sum(&bytes[..20]), sum(&bytes[..36])), (0, 0));
    let xsdt = table_at(bytes, u64_at(bytes, 24));
    let mut found: Vec<_> = xsdt.1[36..]
        .chunks(8)
        .map(|entry| table_at(bytes, u64_at(entry, 0)))
        .collect();
    assert_eq!(found[0].0, "FACP");
    found.push(table_at(bytes, u64_at(found[0].1, 140)));
    found.push(xsdt);
    found
}

/// Runs a program of ACPICA in `folder`; returns all that it prints.
fn acpica(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program}: {error}; install the package acpica-tools, as `make test` does")
        });
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    assert!(output.status.success(), "{program}: {printed}");
    printed
}

/// Disassembles all tables; returns the folder with `<signature>.aml` and `<signature>.dsl`.
fn disassembled(bytes: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (signature, table) in all_tables(bytes) {
        let file = format!("{signature}.aml");
        fs::write(folder.path().join(&file), table).unwrap();
        let printed = acpica("iasl", &["-d", &file], folder.path());
        for complaint in ["Error", "Warning", "Invalid", "Could not"] {
            assert!(!printed.contains(complaint), "{signature}: {printed}");
        }
    }
    folder
}

/// The disassembled table, in lines with single blanks.
fn text(folder: &TempDir, signature: &str) -> String {
    let text = fs::read_to_string(folder.path().join(format!("{signature}.dsl"))).unwrap();
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_root_leads_to_all_tables() {
    let bytes = everything(2);
    let signatures: Vec<_> = all_tables(&bytes)
        .into_iter()
        .map(|found| found.0)
        .collect();
    assert_eq!(signatures, ["FACP", "APIC", "DSDT", "XSDT"]);
}

#[test]
fn the_fixed_description_has_no_pc_in_it() {
    let folder = disassembled(&everything(1));
    let fadt = text(&folder, "FACP");
    for fact in [
        "Hardware Reduced (V5) : 1",
        "Legacy Devices Supported (V2) : 0",
        "8042 Present on ports 60/64 (V2) : 0",
        "VGA Not Present (V4) : 1",
        "CMOS RTC Not Present (V5) : 1",
        "MSI Not Supported (V4) : 0",
        "Reset Register Supported (V2) : 1",
        "SCI Interrupt : 0000",
        "PM Timer Block Length : 00",
    ] {
        assert!(fadt.contains(fact), "{fact} is missing in {fadt}");
    }
    for (register, port) in [
        ("Reset Register", ports::RESET),
        ("Sleep Control Register", ports::SLEEP_CONTROL),
        ("Sleep Status Register", ports::SLEEP_STATUS),
    ] {
        let (_, after) = fadt.split_once(&format!("{register} :")).unwrap();
        let lines: Vec<_> = after.lines().skip(1).take(5).collect();
        assert!(lines[0].ends_with("01 [SystemIO]"), "{lines:?}");
        assert!(lines[4].ends_with(&format!(": {port:016X}")), "{lines:?}");
    }
}

#[test]
fn every_cpu_has_its_interrupt_controller() {
    let madt = text(&disassembled(&everything(257)), "APIC");
    let count = |kind| madt.matches(kind).count();
    assert_eq!(count("[Processor Local APIC]"), 255);
    assert_eq!(count("[Processor Local x2APIC]"), 2);
    assert_eq!(count("[I/O APIC]"), 1);
    assert_eq!(count("Interrupt Source Override"), 0);
    assert!(madt.contains("PC-AT Compatibility : 0"));
    assert!(madt.contains("Processor x2Apic ID : 00000100"), "{madt}");
}

#[test]
fn what_is_disassembled_can_be_assembled() {
    let folder = disassembled(&everything(3));
    let printed = acpica("iasl", &["-p", "again", "DSDT.dsl"], folder.path());
    assert!(
        printed.contains("0 Errors, 0 Warnings, 0 Remarks"),
        "{printed}"
    );
}

#[test]
fn a_kernels_interpreter_finds_devices_generation_and_sleep() {
    let folder = disassembled(&everything(2));
    let commands =
        r"evaluate \_SB.VGEN.ADDR; evaluate \_SB.GED._EVT 20; resources \_SB.V002; sleep 5";
    let printed = acpica(
        "acpiexec",
        &["-b", commands, "DSDT.aml", "FACP.aml", "APIC.aml"],
        folder.path(),
    );
    let slot = crate::devices::slot(2);
    for fact in [
        "8 Devices".to_owned(),
        "[Integer] = 0000000023456780".to_owned(),
        "[Integer] = 0000000000000001".to_owned(),
        "Notify on [VGEN]".to_owned(),
        format!("Address : {:08X}", slot.address),
        format!("Dword00 : {:08X}", slot.gsi),
        "Triggering : Edge".to_owned(),
        "Polarity : ActiveHigh".to_owned(),
        "state S5: Sleep-A: 05".to_owned(),
    ] {
        assert!(printed.contains(&fact), "{fact} is missing in {printed}");
    }
    assert!(!printed.contains("AE_AML"), "{printed}");
}

#[test]
fn another_line_tells_of_no_generation() {
    let folder = disassembled(&everything(1));
    let arguments = ["-b", r"evaluate \_SB.GED._EVT 21", "DSDT.aml", "FACP.aml"];
    let printed = acpica("acpiexec", &arguments, folder.path());
    assert!(printed.contains("Evaluating"), "{printed}");
    assert!(!printed.contains("Notify on"), "{printed}");
}

#[test]
fn a_machine_may_have_no_devices_and_no_generation() {
    let machine = Description {
        cpus: 1,
        virtio: &[],
        generation: None,
    };
    let dsdt = text(&disassembled(&tables(&machine, AT)), "DSDT");
    assert_eq!(dsdt.matches("Device (").count(), 1);
}

#[test]
fn the_tables_of_the_largest_machine_fit_where_they_go() {
    let slots: Vec<_> = (0..layout::GSI_COUNT as usize)
        .map(crate::devices::slot)
        .collect();
    let machine = Description {
        cpus: super::super::MAX_CPUS,
        virtio: &slots,
        generation: Some(GENERATION),
    };
    let len = tables(&machine, AT).len() as u64;
    assert!(len <= layout::ACPI.end - layout::ACPI.start, "{len}");
}
