//! What the guest asks for, read from its memory and checked (virtio 1.2 section 5.2.6).

use std::io;

use thiserror::Error;
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
};
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::disk::{Disk, ID_LEN, SECTOR};
use crate::memory::{Data, Memory, MemoryError, Span, total_len};
use crate::queue::Chain;

/// Most buffers of a request's data: what fits into a queue of ours beside header and status.
pub const MAX_SEGMENTS: u32 = 254;
/// Most ranges of one discard or write-zeroes request: a page of them would keep the queue busy for long.
pub const MAX_RANGES: u32 = 16;
/// Longest range in sectors, 1 GiB: where the file system cannot zero a range, this much is written.
pub const MAX_RANGE_SECTORS: u32 = 1 << 21;

/// How a request ended (section 5.2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = 0,
    /// The device or the driver failed.
    IoError = 1,
    /// The device does not do this.
    Unsupported = 2,
}

/// Why a request is not served.
#[derive(Debug, Error)]
pub enum RequestError {
    /// There is no writable byte for the status.
    #[error("a request has no room for its status")]
    NoStatus,
    /// A part of the request is not where it may be.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The device does not know the type of request, or this form of it.
    #[error("a request of type {kind} with flags {flags:#x} is not supported")]
    Unsupported {
        /// `type` of the header.
        kind: u32,
        /// Flags of a range, 0 for requests without.
        flags: u32,
    },
    /// The data is no whole number of sectors, or of ranges.
    #[error("{len} bytes of data are no whole number of sectors or ranges")]
    Length {
        /// Bytes of data.
        len: u64,
    },
    /// More buffers or ranges than the configuration allows.
    #[error("{count} pieces in a request, where {limit} are allowed")]
    TooMany {
        /// Pieces in the request.
        count: u64,
        /// The limit.
        limit: u32,
    },
    /// The sectors are not there, or more than the configuration allows.
    #[error("{count} sectors from {sector} are beyond the disk or too many at once")]
    Sectors {
        /// First sector.
        sector: u64,
        /// Number of sectors.
        count: u64,
    },
    /// The guest may only read.
    #[error("the disk is read-only")]
    ReadOnly,
    /// The host could not do it.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
}

impl RequestError {
    /// What the guest is told.
    pub fn status(&self) -> Status {
        match self {
            Self::Unsupported { .. } => Status::Unsupported,
            Self::Disk(error) if error.kind() == io::ErrorKind::Unsupported => Status::Unsupported,
            _ => Status::IoError,
        }
    }
}

/// `struct virtio_blk_req`, the part in front of the data.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    kind: U32,
    reserved: U32,
    sector: U64,
}

/// `struct virtio_blk_discard_write_zeroes`.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct RawRange {
    sector: U64,
    num_sectors: U32,
    flags: U32,
}

const HEADER_LEN: u64 = size_of::<Header>() as u64;
const RANGE_LEN: u64 = size_of::<RawRange>() as u64;

/// Bytes of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
    /// Whether they may be given back to the file system.
    pub unmap: bool,
}

/// A checked request.
pub enum Operation<'m> {
    /// Fill `data` from `offset`.
    Read {
        /// In bytes.
        offset: u64,
        /// All of the request's data.
        data: Data<'m>,
    },
    /// Write `data` to `offset`.
    Write {
        /// In bytes.
        offset: u64,
        /// All of the request's data.
        data: Data<'m>,
    },
    /// Bring to the host's disk what was written.
    Flush,
    /// Tell the serial number.
    Id,
    /// The guest does not need these bytes any more.
    Discard(Vec<Range>),
    /// These bytes become zero.
    WriteZeroes(Vec<Range>),
}

/// Reads the request in `chain` and checks that `disk` can serve it.
pub fn parse<'m>(
    memory: &'m Memory,
    disk: &Disk,
    chain: &Chain,
) -> Result<Operation<'m>, RequestError> {
    let readable = chain.readable();
    let mut header = Header::new_zeroed();
    memory.copy_out(readable, 0, header.as_mut_bytes())?;
    let room = total_len(chain.writable())
        .checked_sub(1)
        .ok_or(RequestError::NoStatus)?;
    let sent = total_len(readable) - HEADER_LEN;
    let kind = header.kind.get();
    let writes = matches!(
        kind,
        VIRTIO_BLK_T_OUT | VIRTIO_BLK_T_DISCARD | VIRTIO_BLK_T_WRITE_ZEROES
    );
    if writes && disk.is_read_only() {
        return Err(RequestError::ReadOnly);
    }
    match kind {
        VIRTIO_BLK_T_IN => {
            let offset = sectors(disk, header.sector.get(), room)?;
            let data = all_data(memory, chain.writable(), 0, room, true)?;
            Ok(Operation::Read { offset, data })
        }
        VIRTIO_BLK_T_OUT => {
            let offset = sectors(disk, header.sector.get(), sent)?;
            let data = all_data(memory, readable, HEADER_LEN, sent, false)?;
            Ok(Operation::Write { offset, data })
        }
        VIRTIO_BLK_T_FLUSH => Ok(Operation::Flush),
        VIRTIO_BLK_T_GET_ID => Ok(Operation::Id),
        VIRTIO_BLK_T_DISCARD => ranges(memory, disk, readable, kind, 0).map(Operation::Discard),
        VIRTIO_BLK_T_WRITE_ZEROES => {
            let unmap = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP;
            ranges(memory, disk, readable, kind, unmap).map(Operation::WriteZeroes)
        }
        _ => Err(RequestError::Unsupported { kind, flags: 0 }),
    }
}

/// Stores the serial number; returns the bytes stored.
pub fn answer_id(memory: &Memory, disk: &Disk, chain: &Chain) -> Result<u32, RequestError> {
    let room = total_len(chain.writable()) - 1;
    let len = room.min(ID_LEN as u64);
    memory.copy_in(chain.writable(), 0, &disk.id()[..len as usize])?;
    Ok(len as u32)
}

/// Stores how the request ended, in the last writable byte.
pub fn answer(memory: &Memory, chain: &Chain, status: Status) -> Result<(), RequestError> {
    let last = total_len(chain.writable())
        .checked_sub(1)
        .ok_or(RequestError::NoStatus)?;
    Ok(memory.copy_in(chain.writable(), last, &[status as u8])?)
}

/// Where `len` bytes from `sector` begin, if they are whole sectors of the disk.
fn sectors(disk: &Disk, sector: u64, len: u64) -> Result<u64, RequestError> {
    if !len.is_multiple_of(SECTOR) {
        return Err(RequestError::Length { len });
    }
    let count = len / SECTOR;
    sector
        .checked_add(count)
        .filter(|end| *end <= disk.sectors())
        .map(|_| sector * SECTOR)
        .ok_or(RequestError::Sectors { sector, count })
}

fn all_data<'m>(
    memory: &'m Memory,
    spans: &[Span],
    skip: u64,
    len: u64,
    writable: bool,
) -> Result<Data<'m>, RequestError> {
    // One more than the data has: that of the header or the status.
    if spans.len() > MAX_SEGMENTS as usize + 1 {
        return Err(RequestError::TooMany {
            count: spans.len() as u64,
            limit: MAX_SEGMENTS,
        });
    }
    let data = memory.data(spans, skip, len, writable)?;
    // So many spans are more than a call takes only when each crosses many windows.
    if data.len() < len {
        return Err(RequestError::TooMany {
            count: data.iovecs().len() as u64,
            limit: MAX_SEGMENTS,
        });
    }
    Ok(data)
}

fn ranges(
    memory: &Memory,
    disk: &Disk,
    spans: &[Span],
    kind: u32,
    allowed: u32,
) -> Result<Vec<Range>, RequestError> {
    let len = total_len(spans) - HEADER_LEN;
    let count = len / RANGE_LEN;
    if count == 0 || !len.is_multiple_of(RANGE_LEN) {
        return Err(RequestError::Length { len });
    }
    if count > u64::from(MAX_RANGES) {
        let limit = MAX_RANGES;
        return Err(RequestError::TooMany { count, limit });
    }
    let mut ranges = Vec::with_capacity(count as usize);
    for i in 0..count {
        let mut raw = RawRange::new_zeroed();
        memory.copy_out(spans, HEADER_LEN + i * RANGE_LEN, raw.as_mut_bytes())?;
        let flags = raw.flags.get();
        if flags & !allowed != 0 {
            return Err(RequestError::Unsupported { kind, flags });
        }
        let (sector, count) = (raw.sector.get(), raw.num_sectors.get());
        if count > MAX_RANGE_SECTORS {
            let count = count.into();
            return Err(RequestError::Sectors { sector, count });
        }
        let len = u64::from(count) * SECTOR;
        let offset = sectors(disk, sector, len)?;
        // An empty range is no request to the file system, which would refuse it.
        if len > 0 {
            let unmap = flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP != 0;
            ranges.push(Range { offset, len, unmap });
        }
    }
    Ok(ranges)
}
