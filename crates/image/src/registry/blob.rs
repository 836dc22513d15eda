//! A blob as one stream, continued where it was when a connection breaks.

use std::io::{self, Read};

use reqwest::StatusCode;
use reqwest::blocking::Response;

use super::{PAUSES, Registry};
use crate::digest::Digest;

/// How often a blob is continued without a single byte in between.
const FRUITLESS: u32 = 3;

/// The bytes of a blob.
pub(crate) struct BlobReader<'a> {
    registry: &'a Registry,
    digest: Digest,
    size: u64,
    position: u64,
    /// None before the first read and after a failure.
    response: Option<Response>,
    fruitless: u32,
}

impl<'a> BlobReader<'a> {
    pub(super) fn new(registry: &'a Registry, digest: Digest, size: u64) -> BlobReader<'a> {
        BlobReader {
            registry,
            digest,
            size,
            position: 0,
            response: None,
            fruitless: 0,
        }
    }

    /// Asks for the rest. A server that cannot skip sends all of it again.
    fn connect(&self) -> io::Result<Response> {
        let mut response = self
            .registry
            .blob_from(&self.digest, self.position)
            .map_err(io::Error::other)?;
        if self.position > 0 && response.status() != StatusCode::PARTIAL_CONTENT {
            io::copy(&mut (&mut response).take(self.position), &mut io::sink())?;
        }
        Ok(response)
    }

    fn read_once(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut response = match self.response.take() {
            Some(response) => response,
            None => self.connect()?,
        };
        let count = response.read(buffer)?;
        self.response = Some(response);
        Ok(count)
    }
}

impl Read for BlobReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.read_once(buffer) {
                // More than promised is the reader's to refuse.
                Ok(0) if self.position < self.size && !buffer.is_empty() => {
                    io::ErrorKind::UnexpectedEof.into()
                }
                Ok(count) => {
                    self.position += count as u64;
                    self.fruitless = match count {
                        0 => self.fruitless,
                        _ => 0,
                    };
                    return Ok(count);
                }
                Err(error) => error,
            };
            self.response = None;
            self.fruitless += 1;
            // The registry's own refusals are final; `get` has repeated what is worth it.
            if self.fruitless > FRUITLESS
                || error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<super::RegistryError>())
            {
                return Err(error);
            }
            tracing::debug!(digest = %self.digest, position = self.position, %error, "blob continued");
            std::thread::sleep(PAUSES * self.fruitless);
        }
    }
}
