//! Puts the kernel, its initramfs, command line and boot parameters into RAM, as the Linux boot protocol for x86 wants it
//! for its 64-bit entry (Documentation/arch/x86/boot.rst, "64-bit BOOT PROTOCOL").

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use linux_loader::loader::bootparam::{boot_params, setup_header};
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult};
use vm_memory::{
    ByteValued, Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestMemoryRegion,
};

use super::layout;

/// Why a kernel cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is neither an ELF file nor a bzImage, or it is damaged.
    #[error("the kernel is no x86-64 vmlinux or bzImage that can be started: {0}")]
    Kernel(String),
    /// The kernel does not fit.
    #[error(
        "the kernel ends at {end} MiB and its initramfs has {initramfs} MiB: {memory} MiB of memory are too little"
    )]
    TooBig {
        /// Where the kernel ends, in MiB.
        end: u64,
        /// The initramfs' length in MiB.
        initramfs: u64,
        /// RAM in MiB.
        memory: u64,
    },
    /// The kernel or the initramfs cannot be read.
    #[error("cannot read the {what}: {source}")]
    Read {
        /// Which file.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The command line is too long or holds a zero.
    #[error(
        "the kernel's command line has {length} bytes; at most {} without a zero byte are possible",
        layout::COMMAND_LINE_SIZE - 1
    )]
    CommandLine {
        /// Its length.
        length: usize,
    },
}

/// What is to be started.
pub struct Boot<'a> {
    pub kernel: &'a mut File,
    pub initramfs: Option<&'a mut File>,
    pub command_line: &'a str,
}

/// Loads all of it. Returns the address of the kernel's first instruction.
pub fn load(memory: &GuestMemoryMmap, boot: Boot<'_>) -> Result<u64, Error> {
    let low_end = memory
        .find_region(GuestAddress(0))
        .map_or(0, GuestMemoryRegion::len);
    let mut header = setup_header {
        type_of_loader: 0xff,
        boot_flag: 0xaa55,
        header: 0x5372_6448, // "HdrS"
        cmd_line_ptr: layout::COMMAND_LINE as u32,
        kernel_alignment: 0x20_0000,
        ..Default::default()
    };
    let kernel = load_kernel(memory, boot.kernel)?;
    let entry = match kernel.setup_header {
        // The 64-bit entry of a bzImage is 0x200 behind its 32-bit one.
        Some(found) => {
            header = setup_header {
                type_of_loader: 0xff,
                cmd_line_ptr: header.cmd_line_ptr,
                ..found
            };
            kernel.kernel_load.0 + 0x200
        }
        None => kernel.kernel_load.0,
    };
    if !(layout::HIGH_START..kernel.kernel_end).contains(&entry) {
        return Err(Error::Kernel(format!("it begins at {entry:#x}")));
    }
    write_command_line(memory, boot.command_line)?;
    header.cmdline_size = boot.command_line.len() as u32;
    let init_size = u64::from(header.init_size);
    let kernel_end = kernel.kernel_end.max(kernel.kernel_load.0 + init_size);
    if let Some(file) = boot.initramfs {
        let (address, size) = load_initramfs(memory, file, kernel_end, low_end)?;
        (header.ramdisk_image, header.ramdisk_size) = (address as u32, size as u32);
    } else if kernel_end > low_end {
        return Err(too_big(kernel_end, 0, low_end));
    }
    let mut params = boot_params {
        hdr: header,
        acpi_rsdp_addr: layout::ACPI.start,
        ..Default::default()
    };
    describe_memory(memory, &mut params);
    memory
        .write_obj(Params(params), GuestAddress(layout::BOOT_PARAMS))
        .map_err(|_| too_big(kernel_end, 0, low_end))?;
    Ok(entry)
}

fn too_big(end: u64, initramfs: u64, memory: u64) -> Error {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    Error::TooBig {
        end: mib(end),
        initramfs: mib(initramfs),
        memory: mib(memory),
    }
}

fn load_kernel(memory: &GuestMemoryMmap, file: &mut File) -> Result<KernelLoaderResult, Error> {
    const X86_64: u16 = 62;
    let read = |source| Error::Read {
        what: "kernel",
        source,
    };
    let mut start = [0; 20];
    file.read_exact(&mut start).map_err(read)?;
    file.rewind().map_err(read)?;
    let lowest = Some(GuestAddress(layout::HIGH_START));
    let loaded = if start.starts_with(b"\x7fELF") {
        let machine = u16::from_le_bytes([start[18], start[19]]);
        if start[4] != 2 || machine != X86_64 {
            return Err(Error::Kernel("it is for another processor".to_owned()));
        }
        Elf::load(memory, None, file, lowest)
    } else {
        BzImage::load(memory, None, file, lowest)
    };
    loaded.map_err(|error| Error::Kernel(error.to_string()))
}

/// At the upper end of the low RAM, as boot loaders do: the kernel keeps nothing there.
fn load_initramfs(
    memory: &GuestMemoryMmap,
    file: &mut File,
    kernel_end: u64,
    low_end: u64,
) -> Result<(u64, u64), Error> {
    const PAGE: u64 = 4096;
    let read = |source| Error::Read {
        what: "initramfs",
        source,
    };
    let size = file.seek(SeekFrom::End(0)).map_err(read)?;
    file.rewind().map_err(read)?;
    let address = low_end.saturating_sub(size) / PAGE * PAGE;
    if address < kernel_end {
        return Err(too_big(kernel_end, size, low_end));
    }
    let length = usize::try_from(size).map_err(|_| too_big(kernel_end, size, low_end))?;
    memory
        .read_exact_volatile_from(GuestAddress(address), file, length)
        .map_err(|error| read(io::Error::other(error)))?;
    Ok((address, size))
}

fn write_command_line(memory: &GuestMemoryMmap, line: &str) -> Result<(), Error> {
    let length = line.len();
    let refuse = || Error::CommandLine { length };
    if length >= layout::COMMAND_LINE_SIZE || line.contains('\0') {
        return Err(refuse());
    }
    let mut bytes = line.as_bytes().to_vec();
    bytes.push(0);
    memory
        .write_slice(&bytes, GuestAddress(layout::COMMAND_LINE))
        .map_err(|_| refuse())
}

/// The map of memory (boot.rst, `e820_table`).
fn describe_memory(memory: &GuestMemoryMmap, params: &mut boot_params) {
    const RAM: u32 = 1;
    const ACPI: u32 = 3;
    let high = memory.iter().map(|region| {
        let start = region.start_addr().0;
        let end = start + region.len();
        (start.max(layout::HIGH_START), end, RAM)
    });
    let entries = [
        (0, layout::LOW_END, RAM),
        (layout::ACPI.start, layout::ACPI.end, ACPI),
    ]
    .into_iter()
    .chain(high);
    let mut count = 0;
    for (entry, (start, end, kind)) in params.e820_table.iter_mut().zip(entries) {
        entry.addr = start;
        entry.size = end - start;
        entry.r#type = kind;
        count += 1;
    }
    params.e820_entries = count;
}

/// `struct boot_params`, as bytes to be written.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Params(boot_params);

// SAFETY: it is a packed C structure of integers: any bytes are valid, and it has no padding.
unsafe impl ByteValued for Params {}

#[cfg(test)]
#[path = "boot_test.rs"]
mod tests;
