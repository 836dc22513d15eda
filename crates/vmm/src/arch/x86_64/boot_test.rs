use std::fs::File;
use std::io::Write;

use linux_loader::loader::bootparam::boot_params;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{Boot, Error, Params, layout, load};

const MIB: u64 = 1 << 20;
const ENTRY: u64 = 16 * MIB;
const CODE: &[u8] = b"the kernel's first instructions";

/// An ELF file of one segment: `size` bytes in memory at 16 MiB, which begin with [`CODE`].
fn elf(size: u64) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
    half(&mut bytes, 2); // an executable
    half(&mut bytes, 62); // for x86-64
    word(&mut bytes, 1);
    long(&mut bytes, ENTRY);
    long(&mut bytes, 64); // program headers
    long(&mut bytes, 0);
    word(&mut bytes, 0);
    for value in [64, 56, 1, 64, 0, 0] {
        half(&mut bytes, value);
    }
    word(&mut bytes, 1); // loadable
    word(&mut bytes, 5);
    long(&mut bytes, 120);
    long(&mut bytes, ENTRY);
    long(&mut bytes, ENTRY);
    long(&mut bytes, CODE.len() as u64);
    long(&mut bytes, size);
    long(&mut bytes, 0x20_0000);
    bytes.extend(CODE);
    bytes
}

fn file(content: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    file
}

fn ram(size: u64) -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), size as usize)]).unwrap()
}

fn start(
    memory: &GuestMemoryMmap,
    kernel: &[u8],
    initramfs: Option<&[u8]>,
    command_line: &str,
) -> Result<u64, Error> {
    load(
        memory,
        Boot {
            kernel: &mut file(kernel),
            initramfs: initramfs.map(file).as_mut(),
            command_line,
        },
    )
}

fn params(memory: &GuestMemoryMmap) -> boot_params {
    let Params(params) = memory.read_obj(GuestAddress(layout::BOOT_PARAMS)).unwrap();
    params
}

#[test]
fn a_vmlinux_and_its_initramfs_are_where_the_parameters_say() {
    let memory = ram(64 * MIB);
    let initramfs = vec![5; 5000];
    let entry = start(&memory, &elf(MIB), Some(&initramfs), "quiet panic=-1").unwrap();
    assert_eq!(entry, ENTRY);
    let mut code = [0; CODE.len()];
    memory.read_slice(&mut code, GuestAddress(ENTRY)).unwrap();
    assert_eq!(code, CODE);

    let params = params(&memory);
    let header = params.hdr;
    let (address, size) = (header.ramdisk_image, header.ramdisk_size);
    assert_eq!((address, size), ((64 * MIB - 8192) as u32, 5000));
    let last: u8 = memory
        .read_obj(GuestAddress(u64::from(address + size - 1)))
        .unwrap();
    assert_eq!(last, 5);

    let (line, length) = (header.cmd_line_ptr, header.cmdline_size);
    let mut text = vec![0; length as usize + 1];
    memory
        .read_slice(&mut text, GuestAddress(line.into()))
        .unwrap();
    assert_eq!(text, b"quiet panic=-1\0");
    let rsdp = params.acpi_rsdp_addr;
    assert_eq!(rsdp, layout::ACPI.start);
}

#[test]
fn the_map_of_memory_leaves_the_hole_of_the_pc_out() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[
        (GuestAddress(0), (64 * MIB) as usize),
        (GuestAddress(layout::HOLE_END), (32 * MIB) as usize),
    ])
    .unwrap();
    start(&memory, &elf(MIB), None, "").unwrap();
    let params = params(&memory);
    let table = params.e820_table;
    let map: Vec<_> = table[..params.e820_entries as usize]
        .iter()
        .map(|entry| {
            let (start, size, kind) = (entry.addr, entry.size, entry.r#type);
            (start, start + size, kind)
        })
        .collect();
    assert_eq!(
        map,
        [
            (0, 0x9_fc00, 1),
            (0xe_0000, 0x10_0000, 3),
            (0x10_0000, 64 * MIB, 1),
            (4096 * MIB, 4128 * MIB, 1),
        ]
    );
}

#[test]
fn what_does_not_fit_into_memory_is_refused_with_the_figures() {
    let kernel_is_too_big = start(&ram(64 * MIB), &elf(60 * MIB), None, "");
    assert!(matches!(
        kernel_is_too_big,
        Err(Error::TooBig {
            end: 76,
            initramfs: 0,
            memory: 64
        })
    ));
    let initramfs = vec![0; (40 * MIB) as usize];
    let both_are = start(&ram(64 * MIB), &elf(20 * MIB), Some(&initramfs), "");
    assert!(matches!(
        both_are,
        Err(Error::TooBig {
            end: 36,
            initramfs: 40,
            memory: 64
        })
    ));
    // Not even its first bytes fit.
    assert!(matches!(
        start(&ram(MIB), &elf(MIB), None, ""),
        Err(Error::Kernel(_))
    ));
}

#[test]
fn what_is_no_kernel_is_refused() {
    let memory = ram(64 * MIB);
    let mut other_processor = elf(MIB);
    other_processor[18] = 183;
    let mut low_entry = elf(MIB);
    low_entry[24..32].copy_from_slice(&0x1000u64.to_le_bytes());
    let mut entry_behind_the_kernel = elf(MIB);
    entry_behind_the_kernel[24..32].copy_from_slice(&(48 * MIB).to_le_bytes());
    let mut endless = elf(MIB);
    endless[64 + 40..64 + 48].copy_from_slice(&u64::MAX.to_le_bytes());
    let truncated = elf(MIB)[..130].to_vec();
    let garbage = vec![0xa5; 4096];
    for kernel in [
        other_processor,
        low_entry,
        entry_behind_the_kernel,
        endless,
        truncated,
        garbage,
    ] {
        let refused = start(&memory, &kernel, None, "").unwrap_err();
        assert!(matches!(refused, Error::Kernel(_)), "{refused}");
    }
    let empty = start(&memory, b"", None, "").unwrap_err();
    assert!(matches!(empty, Error::Read { what: "kernel", .. }));
}

#[test]
fn a_command_line_that_linux_would_cut_off_is_refused() {
    let memory = ram(64 * MIB);
    let longest = "x".repeat(layout::COMMAND_LINE_SIZE - 1);
    start(&memory, &elf(MIB), None, &longest).unwrap();
    for line in [longest + "x", "with\0zero".to_owned()] {
        assert!(matches!(
            start(&memory, &elf(MIB), None, &line),
            Err(Error::CommandLine { length }) if length == line.len()
        ));
    }
}

#[test]
fn damage_is_survived() {
    let memory = ram(32 * MIB);
    let whole = elf(MIB);
    for at in 0..120 {
        for value in [0, 1, 0x7f, 0xff] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            // It may be accepted or refused; it must come back.
            let _ = start(&memory, &damaged, None, "");
        }
    }
}
