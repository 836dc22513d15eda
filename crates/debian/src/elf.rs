//! What a program needs in order to run: its loader and its shared libraries.

use std::fs;
use std::io;
use std::path::Path;

use object::read::elf::{Dyn, ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, elf};

/// Larger than any program or library that is unpacked; QEMU has 30 MB.
const MAX_SIZE: u64 = 256 << 20;

/// The dynamic part of an ELF file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    /// The loader's path (PT_INTERP); a library has none.
    pub(crate) loader: Option<String>,
    /// Names of shared libraries (DT_NEEDED).
    pub(crate) libraries: Vec<String>,
}

/// Reads what the 64-bit ELF file `path` needs.
pub(crate) fn needs(path: &Path) -> io::Result<Needs> {
    if fs::metadata(path)?.len() > MAX_SIZE {
        return Err(io::Error::other("it is too large for a program"));
    }
    parse(&fs::read(path)?).map_err(io::Error::other)
}

fn parse(bytes: &[u8]) -> Result<Needs, object::read::Error> {
    let file = ElfFile64::<LittleEndian>::parse(bytes)?;
    let (endian, mut needs) = (file.endian(), Needs::default());
    for segment in file.elf_program_headers() {
        if let Some(path) = segment.interpreter(endian, bytes)? {
            needs.loader = Some(String::from_utf8_lossy(path).into_owned());
        }
    }
    let sections = file.elf_header().sections(endian, bytes)?;
    if let Some((entries, strings)) = sections.dynamic(endian, bytes)? {
        let strings = sections.strings(endian, bytes, strings)?;
        for entry in entries
            .iter()
            .filter(|entry| entry.tag(endian) == elf::DT_NEEDED)
        {
            needs
                .libraries
                .push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
    }
    Ok(needs)
}
