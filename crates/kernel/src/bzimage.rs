//! Takes the kernel out of a bzImage: the x86 boot protocol (Documentation/arch/x86/boot.rst) says where it lies.

use std::io::Read;

/// Offset of the number of 512-byte set-up sectors; 0 means 4.
const SETUP_SECTS: usize = 0x1f1;
const BOOT_FLAG: usize = 0x1fe;
const HEADER_MAGIC: usize = 0x202;
const PROTOCOL: usize = 0x206;
const PAYLOAD_OFFSET: usize = 0x248;
const PAYLOAD_LENGTH: usize = 0x24c;

/// Boot protocol 2.08 introduced the payload fields.
const MIN_PROTOCOL: u16 = 0x0208;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Debian's cloud kernel unpacks to 62 MB; a distribution's largest stay far below this.
const MAX_VMLINUX: u32 = 512 << 20;

/// Why a bzImage gives no kernel.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// The boot header is missing.
    #[error("it has no x86 boot header")]
    Header,
    /// The header is older than the payload fields.
    #[error("its boot protocol {0:#06x} is older than {MIN_PROTOCOL:#06x}")]
    Protocol(u16),
    /// The payload lies outside the file.
    #[error("its payload (offset {offset}, {length} bytes) lies outside the file of {size} bytes")]
    Payload {
        /// Offset in the file.
        offset: u64,
        /// Claimed length.
        length: u64,
        /// The file's size.
        size: u64,
    },
    /// The kernel is compressed by another method.
    #[error("its payload is not compressed with zstd")]
    Compression,
    /// The kernel claims to be larger than any.
    #[error("its kernel claims to be {0} bytes, more than {MAX_VMLINUX}")]
    TooLarge(u32),
    /// The compressed data is damaged.
    #[error("its payload is damaged: {0}")]
    Damaged(String),
}

/// The uncompressed kernel that `image` carries.
pub(crate) fn unpack(image: &[u8]) -> Result<Vec<u8>, Error> {
    let payload = payload(image)?;
    // The build appends the uncompressed size, little-endian, to the compressed data.
    let (compressed, size) = payload.split_last_chunk::<4>().ok_or(Error::Compression)?;
    let size = u32::from_le_bytes(*size);
    if !compressed.starts_with(&ZSTD_MAGIC) {
        return Err(Error::Compression);
    }
    if size > MAX_VMLINUX {
        return Err(Error::TooLarge(size));
    }
    let damaged = |error: std::io::Error| Error::Damaged(error.to_string());
    let mut kernel = Vec::new();
    let decoder = zstd::Decoder::with_buffer(compressed).map_err(damaged)?;
    decoder
        .single_frame()
        .take(u64::from(size) + 1)
        .read_to_end(&mut kernel)
        .map_err(damaged)?;
    if kernel.len() != size as usize {
        return Err(Error::Damaged(format!(
            "it has {} bytes instead of {size}",
            kernel.len()
        )));
    }
    Ok(kernel)
}

fn payload(image: &[u8]) -> Result<&[u8], Error> {
    let bytes = |at: usize| image.get(at..)?.first_chunk::<4>().copied();
    let word = |at: usize| {
        bytes(at)
            .map(|b| u16::from_le_bytes([b[0], b[1]]))
            .ok_or(Error::Header)
    };
    let long = |at: usize| bytes(at).map(u32::from_le_bytes).ok_or(Error::Header);
    if word(BOOT_FLAG)? != 0xaa55 || bytes(HEADER_MAGIC) != Some(*b"HdrS") {
        return Err(Error::Header);
    }
    let protocol = word(PROTOCOL)?;
    if protocol < MIN_PROTOCOL {
        return Err(Error::Protocol(protocol));
    }
    let sectors = match image[SETUP_SECTS] {
        0 => 4,
        count => u64::from(count),
    };
    // Neither sum can overflow: a byte times 512 plus two 32-bit numbers.
    let offset = (sectors + 1) * 512 + u64::from(long(PAYLOAD_OFFSET)?);
    let length = u64::from(long(PAYLOAD_LENGTH)?);
    let outside = Error::Payload {
        offset,
        length,
        size: image.len() as u64,
    };
    let range = usize::try_from(offset)
        .ok()
        .zip(usize::try_from(offset + length).ok());
    range
        .and_then(|(start, end)| image.get(start..end))
        .ok_or(outside)
}

#[cfg(test)]
#[path = "bzimage_test.rs"]
mod tests;
