//! Checks that a kernel can be started directly: an x86-64 ELF file with a PVH entry point.

use object::LittleEndian;
use object::elf::{EM_X86_64, FileHeader64, NoteType};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};

/// The ELF note that names the 32-bit entry point of the PVH boot protocol (owner `Xen`).
const XEN_ELFNOTE_PHYS32_ENTRY: NoteType = NoteType(18);

/// Why a kernel cannot be started directly.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// It is not an ELF file.
    #[error("it is not an intact ELF file: {0}")]
    Elf(object::read::Error),
    /// It is for another machine.
    #[error("it is not for x86-64")]
    Machine,
    /// It has no PVH entry point.
    #[error("it has no PVH entry point (a kernel built with CONFIG_PVH=y has one)")]
    NoPvh,
}

/// Checks `kernel`; says nothing about whether it will boot.
pub(crate) fn check<'data>(kernel: impl ReadRef<'data>) -> Result<(), Error> {
    let header = FileHeader64::<LittleEndian>::parse(kernel).map_err(Error::Elf)?;
    let endian = header.endian().map_err(Error::Elf)?;
    if header.e_machine(endian) != EM_X86_64 {
        return Err(Error::Machine);
    }
    for segment in header.program_headers(endian, kernel).map_err(Error::Elf)? {
        let Some(mut notes) = segment.notes(endian, kernel).map_err(Error::Elf)? else {
            continue;
        };
        while let Some(note) = notes.next().map_err(Error::Elf)? {
            if note.name() == b"Xen" && note.n_type(endian) == XEN_ELFNOTE_PHYS32_ENTRY {
                return Ok(());
            }
        }
    }
    Err(Error::NoPvh)
}
