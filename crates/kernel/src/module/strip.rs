//! Removes from a module what costs a guest time at load and serves nobody there.
//!
//! * The appended signature (Documentation/admin-guide/module-signing.rst): verifying it took an emulated CPU 20 ms a
//!   module. apt has verified the package's signature already, and the kernel does not insist on one unless it is
//!   locked down.
//! * The `.BTF` section (types for tracing programs): its size becomes 0, so the kernel does not parse it.

use std::mem::{offset_of, size_of};

use object::LittleEndian;
use object::elf::{FileHeader64, SectionHeader64};
use object::read::elf::FileHeader;

const SIGNATURE_MARK: &[u8] = b"~Module signature appended~\n";
/// `struct module_signature`: eight bytes of kinds and lengths, then the signature's length, big-endian.
const SIGNATURE_INFO: usize = 12;

/// Strips `module`; one that has neither is left as it is.
pub(crate) fn strip(module: &mut Vec<u8>) -> Result<(), object::read::Error> {
    if let Some(end) = before_signature(module) {
        module.truncate(end);
    }
    if let Some(size) = btf_size_field(module)? {
        module[size..size + size_of::<u64>()].fill(0);
    }
    Ok(())
}

/// Where the module proper ends; `None` if it is not signed.
fn before_signature(module: &[u8]) -> Option<usize> {
    let rest = module.strip_suffix(SIGNATURE_MARK)?;
    let (_, length) = rest.split_last_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    rest.len().checked_sub(SIGNATURE_INFO)?.checked_sub(length)
}

/// Offset of the `.BTF` section's `sh_size`.
fn btf_size_field(module: &[u8]) -> Result<Option<usize>, object::read::Error> {
    let header = FileHeader64::<LittleEndian>::parse(module)?;
    let endian = header.endian()?;
    // This checks that the table of section headers lies in the file.
    let sections = header.sections(endian, module)?;
    let Some((index, _)) = sections.section_by_name(endian, b".BTF") else {
        return Ok(None);
    };
    let table = usize::try_from(header.e_shoff(endian)).ok();
    let section = table
        .and_then(|table| table.checked_add(index.0 * size_of::<SectionHeader64<LittleEndian>>()));
    Ok(section.map(|section| section + offset_of!(SectionHeader64<LittleEndian>, sh_size)))
}

#[cfg(test)]
#[path = "strip_test.rs"]
mod tests;
