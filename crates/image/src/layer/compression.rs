//! How a layer's archive is compressed, and the readers that undo it.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// The compression around a tar archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// RFC 1952, of one member or many.
    Gzip,
    /// RFC 8878, of one frame or many.
    Zstandard,
}

/// The compression that some bytes begin with is a known one that cannot be undone here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{name} compression is not supported; pipe it through `{program} -dc` first")]
pub struct Unsupported {
    name: &'static str,
    program: &'static str,
}

/// First bytes of compressed data, and what they mean. Anything else is taken for a plain archive.
const MAGICS: [(&[u8], Result<Compression, Unsupported>); 6] = [
    (b"\x1f\x8b", Ok(Compression::Gzip)),
    (b"\x28\xb5\x2f\xfd", Ok(Compression::Zstandard)),
    (b"\xfd7zXZ\0", unsupported("xz", "xz")),
    (b"BZh", unsupported("bzip2", "bzip2")),
    (b"\x04\x22\x4d\x18", unsupported("lz4", "lz4")),
    (b"LZIP", unsupported("lzip", "lzip")),
];

const fn unsupported(
    name: &'static str,
    program: &'static str,
) -> Result<Compression, Unsupported> {
    Err(Unsupported { name, program })
}

/// As many first bytes as [`Compression::detect`] needs.
const LONGEST_MAGIC: usize = 6;

/// A decoder may keep this many bytes of history: 2^27, what the `zstd` program itself accepts without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

impl Compression {
    /// The compression that data beginning with `head` has.
    pub fn detect(head: &[u8]) -> Result<Compression, Unsupported> {
        MAGICS
            .iter()
            .find(|(magic, _)| head.starts_with(magic))
            .map_or(Ok(Compression::Plain), |(_, meaning)| *meaning)
    }

    /// Its name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Compression::Plain => "uncompressed",
            Compression::Gzip => "gzip",
            Compression::Zstandard => "zstd",
        }
    }

    /// A reader of the plain data inside of `input`.
    pub fn decoder<'a>(self, input: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Compression::Plain => Box::new(input),
            Compression::Gzip => Box::new(MultiGzDecoder::new(input)),
            Compression::Zstandard => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// Reads the first bytes of `input` and gives them back with a reader that still yields them.
pub(crate) fn peek<R: Read>(mut input: R) -> io::Result<(Vec<u8>, impl Read)> {
    let mut head = Vec::new();
    (&mut input)
        .take(LONGEST_MAGIC as u64)
        .read_to_end(&mut head)?;
    Ok((head.clone(), io::Cursor::new(head).chain(input)))
}
