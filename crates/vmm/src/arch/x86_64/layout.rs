//! The map of guest-physical addresses.
//!
//! ```text
//! 0          page tables, boot parameters, command line     (usable RAM for the kernel once it has read them)
//! 0x9_fc00   hole of the PC, with the ACPI tables at 0xe_0000
//! 0x10_0000  RAM: the kernel, the initramfs at its upper end
//! 3 GiB      no RAM: device registers, I/O APIC, local APIC
//! 4 GiB      more RAM
//! behind it  pmem
//! ```

use std::ops::Range;

/// The global descriptor table.
pub const GDT: u64 = 0x500;
/// The "zero page": `struct boot_params`.
pub const BOOT_PARAMS: u64 = 0x7000;
/// Three levels of page tables, one page each.
pub const PAGE_TABLES: u64 = 0x9000;
/// The kernel's command line, up to [`COMMAND_LINE_SIZE`] bytes with its final zero.
pub const COMMAND_LINE: u64 = 0x2_0000;
/// `COMMAND_LINE_SIZE` of Linux on x86.
pub const COMMAND_LINE_SIZE: usize = 2048;
/// End of the RAM below the PC's hole.
pub const LOW_END: u64 = 0x9_fc00;
/// Where Linux looks for ACPI tables by itself, too. The tables end before [`GENERATION`].
pub const ACPI: Range<u64> = 0xe_0000..0x10_0000;
/// The 16 bytes that a machine shares with none of its clones.
pub const GENERATION: u64 = 0xf_f000;
/// Start of the RAM above the PC's hole.
pub const HIGH_START: u64 = 0x10_0000;

/// End of the RAM below the registers.
pub const HOLE_START: u64 = 3 << 30;
/// Where RAM goes on.
pub const HOLE_END: u64 = 4 << 30;

/// The devices' register pages, one after the other.
pub const REGISTERS: u64 = 0xd000_0000;
/// The I/O APIC.
pub const IO_APIC: u64 = 0xfec0_0000;
/// Every CPU's local APIC.
pub const LOCAL_APIC: u64 = 0xfee0_0000;
/// Pages that KVM needs on Intel's processors without unrestricted guests: one page, then three.
pub const IDENTITY_MAP: u64 = 0xfffb_c000;
/// See [`IDENTITY_MAP`].
pub const TSS: u64 = 0xfffb_d000;

/// The interrupt line that tells of another [`GENERATION`]. Those below belong to a PC's old devices.
pub const GENERATION_GSI: u32 = 5;
/// The first interrupt line that a virtio device gets.
pub const FIRST_GSI: u32 = 6;
/// Lines of KVM's I/O APIC.
pub const GSI_COUNT: u32 = 24;

/// No kernel of today comes up with less.
pub const LEAST_RAM: u64 = 16 << 20;

/// Where `size` bytes of RAM go: address and length of each run. `None` for a size that is not possible.
pub fn ram(size: u64) -> Option<Vec<(u64, u64)>> {
    if size < LEAST_RAM || !size.is_multiple_of(1 << 20) {
        return None;
    }
    let low = size.min(HOLE_START);
    let mut runs = vec![(0, low)];
    if size > low {
        HOLE_END.checked_add(size - low)?;
        runs.push((HOLE_END, size - low));
    }
    Some(runs)
}

/// The first address behind `size` bytes of RAM, and never below 4 GiB.
pub fn after_ram(size: u64) -> u64 {
    HOLE_END + size.saturating_sub(HOLE_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_leaves_the_hole_below_four_gib_free() {
        assert_eq!(ram(512 << 20), Some(vec![(0, 512 << 20)]));
        assert_eq!(ram(3 << 30), Some(vec![(0, 3 << 30)]));
        assert_eq!(ram(5 << 30), Some(vec![(0, 3 << 30), (4 << 30, 2 << 30)]));
        assert_eq!(after_ram(512 << 20), 4 << 30);
        assert_eq!(after_ram(5 << 30), 6 << 30);
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for size in [0, 1 << 20, (512 << 20) + 1, u64::MAX, u64::MAX << 20] {
            assert_eq!(ram(size), None, "{size}");
        }
    }
}
