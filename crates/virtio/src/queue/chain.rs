//! A descriptor chain, walked and checked (virtio 1.2 section 2.7.5).

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_queue::desc::split::Descriptor;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::memory::Span;

/// Size of a descriptor in bytes.
const DESCRIPTOR_SIZE: u32 = 16;

/// Why a chain is refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ChainError {
    /// More descriptors than the ring has entries: a loop, or longer than section 2.7.5.2 allows.
    #[error("a chain has more than {limit} descriptors")]
    TooLong {
        /// Entries of the ring.
        limit: u16,
    },
    /// The next field names a descriptor that the table does not have.
    #[error("a chain goes on at descriptor {next} of {size}")]
    Next {
        /// The descriptor named.
        next: u16,
        /// Entries of the table.
        size: u16,
    },
    /// A descriptor table, direct or indirect, lies outside of RAM.
    #[error("a descriptor at {addr:#x} is outside of RAM")]
    Table {
        /// Guest-physical address of the descriptor.
        addr: u64,
    },
    /// An indirect table inside an indirect table, one that goes on after it, or one whose length is no whole number
    /// of descriptors (section 2.7.5.3).
    #[error("an indirect table of {len} bytes is not allowed here")]
    Indirect {
        /// Length of the table in bytes.
        len: u32,
    },
    /// A buffer for the driver to read comes before one for the device to read (section 2.7.4.2).
    #[error("a readable buffer follows a writable one")]
    Order,
    /// The lengths add up to more than 2^32 bytes (section 2.7.5.2).
    #[error("a chain is longer than 2^32 bytes")]
    Overflow,
}

/// Buffers that the driver offers as one unit: first those that the device reads, then those that it writes.
///
/// The spans are as the driver wrote them: that memory is there is checked on access.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    pub(super) head: u16,
    spans: Vec<Span>,
    readable: usize,
}

impl Chain {
    /// The buffers for the device to read.
    pub fn readable(&self) -> &[Span] {
        &self.spans[..self.readable]
    }

    /// The buffers for the device to fill.
    pub fn writable(&self) -> &[Span] {
        &self.spans[self.readable..]
    }

    /// Walks the chain that starts at descriptor `head` of the table at `table`, of a ring with `size` entries.
    pub(super) fn walk(
        ram: &GuestMemoryMmap,
        table: u64,
        size: u16,
        head: u16,
    ) -> Result<Self, ChainError> {
        let mut walk = Walk {
            chain: Self {
                head,
                spans: Vec::with_capacity(4),
                readable: 0,
            },
            limit: size,
            bytes: 0,
        };
        let mut next = Some(head);
        while let Some(index) = next {
            let descriptor = read_descriptor(ram, table, size, index)?;
            next = follow(&descriptor);
            if !descriptor.refers_to_indirect_table() {
                walk.add(&descriptor)?;
            } else if next.is_some() {
                return Err(ChainError::Indirect {
                    len: descriptor.len(),
                });
            } else {
                walk.indirect(ram, &descriptor)?;
            }
        }
        Ok(walk.chain)
    }
}

struct Walk {
    chain: Chain,
    limit: u16,
    bytes: u64,
}

impl Walk {
    fn indirect(&mut self, ram: &GuestMemoryMmap, table: &Descriptor) -> Result<(), ChainError> {
        let len = table.len();
        let size =
            u16::try_from(len / DESCRIPTOR_SIZE).map_err(|_| ChainError::Indirect { len })?;
        if size == 0 || !len.is_multiple_of(DESCRIPTOR_SIZE) {
            return Err(ChainError::Indirect { len });
        }
        let mut next = Some(0);
        while let Some(index) = next {
            let descriptor = read_descriptor(ram, table.addr().0, size, index)?;
            if descriptor.refers_to_indirect_table() {
                return Err(ChainError::Indirect {
                    len: descriptor.len(),
                });
            }
            next = follow(&descriptor);
            self.add(&descriptor)?;
        }
        Ok(())
    }

    /// Every descriptor passes here once, so the limit also ends a loop.
    fn add(&mut self, descriptor: &Descriptor) -> Result<(), ChainError> {
        let chain = &mut self.chain;
        if chain.spans.len() == usize::from(self.limit) {
            return Err(ChainError::TooLong { limit: self.limit });
        }
        let writable = descriptor.is_write_only();
        if !writable && chain.readable < chain.spans.len() {
            return Err(ChainError::Order);
        }
        chain.spans.push(Span {
            addr: descriptor.addr().0,
            len: descriptor.len(),
        });
        if !writable {
            chain.readable += 1;
        }
        self.bytes += u64::from(descriptor.len());
        if self.bytes > 1 << 32 {
            Err(ChainError::Overflow)
        } else {
            Ok(())
        }
    }
}

fn follow(descriptor: &Descriptor) -> Option<u16> {
    descriptor.has_next().then(|| descriptor.next())
}

fn read_descriptor(
    ram: &GuestMemoryMmap,
    table: u64,
    size: u16,
    index: u16,
) -> Result<Descriptor, ChainError> {
    if index >= size {
        return Err(ChainError::Next { next: index, size });
    }
    let addr = table.wrapping_add(u64::from(index) * u64::from(DESCRIPTOR_SIZE));
    ram.read_obj(GuestAddress(addr))
        .map_err(|_| ChainError::Table { addr })
}
