//! An archive that cannot be read at any place, because it is compressed or comes through a pipe, is unpacked into the store's
//! temporary folder first: which layers it has stands at its end.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::Path;

use super::place::{ArchiveError, Place};
use crate::error::{Error, Result};
use crate::layer::{Compression, peek};
use crate::store::Store;

const CHUNK: usize = 256 << 10;

impl Store {
    /// Calls `use_it` with the archive in `file`, which messages call `path`.
    pub(super) fn with_archive<T>(
        &self,
        file: File,
        path: &Path,
        use_it: impl FnOnce(&Place) -> Result<T>,
    ) -> Result<T> {
        let metadata = file.metadata().map_err(Error::io("read", path))?;
        if metadata.is_file() && self.compression(&mut &file, path)?.0 == Compression::Plain {
            return use_it(&Place::archive(path, file)?);
        }
        let workspace = self.workspace()?;
        let (beside, spooled) = workspace.file("archive")?;
        if metadata.is_file() {
            (&file).rewind().map_err(Error::io("read", path))?;
        }
        self.spool(&file, path, &spooled, &beside)?;
        use_it(&Place::archive(path, spooled)?)
    }

    fn compression<R: Read>(&self, input: R, path: &Path) -> Result<(Compression, impl Read)> {
        let (head, input) = peek(input).map_err(Error::io("read", path))?;
        let compression =
            Compression::detect(&head).map_err(|source| ArchiveError::Compression {
                place: path.to_owned(),
                source,
            })?;
        Ok((compression, input))
    }

    fn spool(&self, file: &File, path: &Path, mut spooled: &File, beside: &Path) -> Result<()> {
        let compressed = Cell::new(0);
        let counted = Counted {
            inner: file,
            bytes: &compressed,
        };
        let (compression, input) = self.compression(counted, path)?;
        let mut decoder = compression
            .decoder(BufReader::with_capacity(CHUNK, input))
            .map_err(Error::io("unpack", path))?;
        let mut buffer = vec![0; CHUNK];
        let mut total = 0;
        loop {
            let count = decoder
                .read(&mut buffer)
                .map_err(Error::io("unpack", path))?;
            if count == 0 {
                return Ok(());
            }
            total += count as u64;
            self.limits()
                .check(total, compressed.get())
                .map_err(|source| ArchiveError::Limit {
                    place: path.to_owned(),
                    source,
                })?;
            spooled
                .write_all(&buffer[..count])
                .map_err(Error::io("write", beside))?;
        }
    }
}

struct Counted<'a, R> {
    inner: R,
    bytes: &'a Cell<u64>,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.bytes.set(self.bytes.get() + count as u64);
        Ok(count)
    }
}
