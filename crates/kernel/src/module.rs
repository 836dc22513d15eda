//! Which modules a guest needs, what each depends on, and the order in which they load.
//!
//! Debian's cloud kernel has PCI, virtio-pci, ext4, FUSE and virtio-fs built in; what is listed here comes as modules.
//! The packages carry no `modules.dep` (the host's installation makes it), so the order is computed from each module's
//! own `.modinfo` section: strings `key=value`, ended by zero bytes.

mod strip;

use std::io;

use object::LittleEndian;
use object::elf::FileHeader64;
use object::read::elf::{FileHeader, SectionHeader};
use serde::{Deserialize, Serialize};

/// What a module is for; a virtual machine loads the groups that it uses, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Group {
    /// To find devices on virtio-mmio, where they are instead of on PCI.
    Mmio,
    /// To reach the host.
    Vsock,
    /// To mount the container's image.
    Root,
    /// To reach the network.
    Network,
    /// To use a disk.
    Disk,
    /// To host virtual machines.
    Nested,
}

impl Group {
    /// Every group, in load order.
    pub const ALL: [Self; 6] = [
        Self::Mmio,
        Self::Vsock,
        Self::Root,
        Self::Network,
        Self::Disk,
        Self::Nested,
    ];

    /// Whether the agent needs the group to call the host, before all others.
    pub(crate) fn reaches_host(self) -> bool {
        matches!(self, Self::Mmio | Self::Vsock)
    }

    /// The modules that the group asks for; their dependencies come along.
    pub(crate) fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Mmio => &["virtio_mmio"],
            Self::Vsock => &["vmw_vsock_virtio_transport"],
            Self::Root => &["virtio_pmem", "nd_pmem", "erofs", "overlay"],
            Self::Network => &["virtio_net"],
            Self::Disk => &["virtio_blk"],
            Self::Nested => &["kvm_amd", "kvm_intel", "tun"],
        }
    }
}

/// Debian's deepest chains have about ten modules.
const MAX_DEPTH: usize = 64;

/// Why a module cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or decompressed.
    #[error("cannot read module {name}")]
    Read {
        /// The module.
        name: String,
        /// What the system or the decompressor said.
        source: io::Error,
    },
    /// It is not an ELF file, or it is damaged.
    #[error("module {name} is damaged: {what}")]
    Damaged {
        /// The module.
        name: String,
        /// What is wrong with it.
        what: String,
    },
    /// The kernel has no such module.
    #[error("module {name}, which {needed_by} needs, is not in the packages")]
    Missing {
        /// The module.
        name: String,
        /// Who needs it.
        needed_by: String,
    },
    /// Modules depend on each other in a circle.
    #[error("module {0} depends on itself")]
    Circle(String),
    /// The chain of dependencies is longer than any real one.
    #[error("the dependencies of module {0} nest deeper than {MAX_DEPTH} levels")]
    Deep(String),
}

/// A module in its place in the load order, decompressed and stripped.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) group: Group,
    pub(crate) content: Vec<u8>,
}

/// A module's name as the kernel shows it.
pub(crate) fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// Every module that the groups need, each after what it depends on. `load` gives a module's content, `None` if the
/// kernel has no module of that name.
///
/// A module that several groups need is in the first of them.
pub(crate) fn order(
    load: impl Fn(&str) -> io::Result<Option<Vec<u8>>>,
) -> Result<Vec<Loaded>, Error> {
    let mut walk = Walk {
        load,
        open: Vec::new(),
        done: Vec::new(),
    };
    for group in Group::ALL {
        for name in group.modules() {
            walk.visit(name, "a guest", group)?;
        }
    }
    Ok(walk.done)
}

/// A depth-first walk over dependencies.
struct Walk<L> {
    load: L,
    /// The modules whose dependencies are being visited.
    open: Vec<String>,
    done: Vec<Loaded>,
}

impl<L: Fn(&str) -> io::Result<Option<Vec<u8>>>> Walk<L> {
    fn visit(&mut self, name: &str, needed_by: &str, group: Group) -> Result<(), Error> {
        if self.done.iter().any(|done| done.name == name) {
            return Ok(());
        }
        if self.open.iter().any(|open| open == name) {
            return Err(Error::Circle(name.to_owned()));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(Error::Deep(name.to_owned()));
        }
        let name = name.to_owned();
        let content = (self.load)(&name).map_err(|source| Error::Read {
            name: name.clone(),
            source,
        })?;
        let mut content = content.ok_or_else(|| Error::Missing {
            name: name.clone(),
            needed_by: needed_by.to_owned(),
        })?;
        self.open.push(name.clone());
        for dependency in depends(&name, &content)? {
            self.visit(&dependency, &name, group)?;
        }
        self.open.pop();
        strip::strip(&mut content).map_err(|error| Error::Damaged {
            name: name.clone(),
            what: error.to_string(),
        })?;
        self.done.push(Loaded {
            name,
            group,
            content,
        });
        Ok(())
    }
}

/// The modules that `.modinfo` says must be loaded before this one (`depends=a,b`).
pub(crate) fn depends(name: &str, content: &[u8]) -> Result<Vec<String>, Error> {
    let damaged = |what: String| Error::Damaged {
        name: name.to_owned(),
        what,
    };
    let info = modinfo(content)
        .map_err(|error| damaged(error.to_string()))?
        .ok_or_else(|| damaged("it has no .modinfo section".to_owned()))?;
    let line = info
        .split(|byte| *byte == 0)
        .find_map(|line| line.strip_prefix(b"depends="))
        .unwrap_or_default();
    let list = str::from_utf8(line).map_err(|error| damaged(error.to_string()))?;
    Ok(list
        .split(',')
        .filter(|name| !name.is_empty())
        .map(canonical)
        .collect())
}

fn modinfo(content: &[u8]) -> Result<Option<&[u8]>, object::read::Error> {
    let header = FileHeader64::<LittleEndian>::parse(content)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, content)?;
    let section = sections.section_by_name(endian, b".modinfo");
    section
        .map(|(_, section)| section.data(endian, content))
        .transpose()
}

#[cfg(test)]
mod tests;
