//! Content digests (OCI image specification, descriptor section "Digests"), and a reader that computes one on the way.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;
use sha2::Sha256;

/// A SHA-256 digest, written `sha256:` and 64 lower-case hexadecimal digits.
///
/// SHA-512, the other algorithm that the specification registers, is refused: no registry in use serves it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// Why a text is not a [`Digest`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// The algorithm before the colon is not `sha256`.
    #[error("digest `{0}` does not begin with `sha256:`, the only supported algorithm")]
    Algorithm(String),
    /// What follows the colon is not 64 lower-case hexadecimal digits.
    #[error("digest `{0}` is not `sha256:` followed by 64 lower-case hexadecimal digits")]
    Form(String),
}

const ALGORITHM: &str = "sha256:";
const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";
/// How many digits [`Digest::short`] shows, as container tools do in their listings.
const SHORT_DIGITS: usize = 12;

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// The 64 hexadecimal digits without the algorithm.
    pub fn hex(&self) -> String {
        let digit = |value: u8| char::from(HEX_DIGITS[usize::from(value)]);
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
            .collect()
    }

    /// The first 12 hexadecimal digits, for listings.
    pub fn short(&self) -> String {
        let mut hex = self.hex();
        hex.truncate(SHORT_DIGITS);
        hex
    }

    /// A digest from its 64 lower-case hexadecimal digits.
    pub fn from_hex(hex: &str) -> Result<Digest, DigestError> {
        let form = || DigestError::Form(format!("{ALGORITHM}{hex}"));
        let value = |digit: &u8| {
            HEX_DIGITS
                .iter()
                .position(|known| known == digit)
                .and_then(|position| u8::try_from(position).ok())
                .ok_or_else(form)
        };
        let mut bytes = [0; 32];
        if hex.len() != 2 * bytes.len() {
            return Err(form());
        }
        for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks_exact(2)) {
            *byte = value(&pair[0])? << 4 | value(&pair[1])?;
        }
        Ok(Digest(bytes))
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Digest, DigestError> {
        match text.strip_prefix(ALGORITHM) {
            Some(hex) => Digest::from_hex(hex),
            None => Err(DigestError::Algorithm(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Digest, DigestError> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{ALGORITHM}{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

/// A reader that hashes and counts everything read through it.
pub struct HashingReader<R> {
    inner: R,
    state: Sha256,
    bytes: u64,
}

impl<R> HashingReader<R> {
    /// Hashes what is read from `inner` from now on.
    pub fn new(inner: R) -> HashingReader<R> {
        HashingReader {
            inner,
            state: Sha256::new(),
            bytes: 0,
        }
    }

    /// How many bytes have been read so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest and the number of the bytes read.
    pub fn finish(self) -> (Digest, u64) {
        (Digest(self.state.finalize().into()), self.bytes)
    }
}

impl<R: Read> Read for HashingReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.state.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "digest_test.rs"]
mod tests;
