//! The stages between a layer's blob and its EROFS image.
//!
//! ```text
//! blob ──> sha256, count ──> decompress ──> limits ══> sha256 ──> tar ──> EROFS
//!          └─────────── first thread ────────────┘     └──── second thread ───┘
//! ```
//!
//! Two threads, because inflating takes about as long as all of the rest. When the second one gives up over what it
//! reads, the first reads the blob to its end all the same: a wrong digest explains a broken archive better than the place where
//! it broke.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use cenote_erofs::{LayerSummary, WriteError};

use super::compression::{Compression, peek};
use super::convert::{EndMark, LayerError, write_layer};
use crate::digest::{Digest, HashingReader};

/// What a layer may cost before it is refused.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of the decompressed archive. The default, 64 GiB, is several times the largest images in use.
    pub layer_bytes: u64,
    /// Decompressed bytes for each compressed one. Above this a layer is a bomb; real ones stay below 100 even if they hold a lot of zeros.
    pub ratio: u64,
    /// Decompressed bytes that are accepted whatever their ratio: 1 GiB, which any machine that runs images can bear.
    pub ratio_free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            layer_bytes: 64 << 30,
            ratio: 200,
            ratio_free_bytes: 1 << 30,
        }
    }
}

impl Limits {
    /// Refuses `unpacked` bytes out of `compressed` ones if they are too many.
    pub(crate) fn check(&self, unpacked: u64, compressed: u64) -> Result<(), LayerError> {
        if unpacked > self.layer_bytes {
            return Err(LayerError::TooLarge {
                limit: self.layer_bytes,
            });
        }
        if unpacked > self.ratio_free_bytes && unpacked > self.ratio.saturating_mul(compressed) {
            return Err(LayerError::Bomb {
                ratio: self.ratio,
                compressed,
            });
        }
        Ok(())
    }
}

/// A layer that has been converted.
#[derive(Debug)]
pub struct Converted {
    /// The digest of the decompressed archive.
    pub diff_id: Digest,
    /// Its length in bytes.
    pub archive_bytes: u64,
    /// What the writer says of the image.
    pub summary: LayerSummary,
}

/// What a manifest and a configuration promise of a layer.
#[derive(Debug, Clone, Copy)]
pub struct Expected {
    /// The digest and length of the blob as it is transferred. An archive of `docker save` does not name them.
    pub blob: Option<(Digest, u64)>,
    /// The digest of the decompressed archive.
    pub diff_id: Digest,
}

/// Bytes that cross between the threads at once, so that locks and wake-ups do not count.
const CHUNK: usize = 256 << 10;
/// Chunks that may wait between the threads: with [`CHUNK`], 1 MiB for each layer.
const CHUNKS: usize = 4;

/// Converts `blob`, compressed by gzip or zstd or not at all, into `out`, an empty file. Without `expected`, the archive must end with its end mark.
pub fn convert(
    blob: impl Read + Send,
    expected: Option<Expected>,
    out: File,
    limits: &Limits,
) -> Result<Converted, LayerError> {
    let (sender, receiver) = sync_channel(CHUNKS);
    let abandoned = AtomicBool::new(false);
    let end_mark = match expected {
        Some(_) => EndMark::Optional,
        None => EndMark::Needed,
    };
    let promised = expected.and_then(|expected| expected.blob);
    let (unpacked, written) = thread::scope(|scope| {
        let unpacker = scope.spawn(|| unpack(blob, promised, limits, sender, &abandoned));
        let written = write(receiver, out, end_mark, &abandoned);
        (unpacker.join().expect("no stage panics"), written)
    });
    unpacked?;
    let (summary, diff_id, archive_bytes) = written?;
    match expected {
        Some(Expected {
            diff_id: expected, ..
        }) if expected != diff_id => Err(LayerError::DiffId {
            expected,
            actual: diff_id,
        }),
        _ => Ok(Converted {
            diff_id,
            archive_bytes,
            summary,
        }),
    }
}

/// The second thread: hash, parse, write. It ends before `receiver` is dropped, so that the first one knows why.
fn write(
    receiver: Receiver<Vec<u8>>,
    out: File,
    end_mark: EndMark,
    abandoned: &AtomicBool,
) -> Result<(LayerSummary, Digest, u64), LayerError> {
    let mut archive = HashingReader::new(Chunks {
        receiver,
        chunk: io::Cursor::default(),
    });
    let summary = write_layer(BufReader::with_capacity(CHUNK, &mut archive), out, end_mark);
    // With a full disk there is no use in reading the rest of the blob.
    let own_failure = matches!(summary, Err(LayerError::Write(WriteError::Io { .. })));
    abandoned.store(own_failure, Ordering::Release);
    let (diff_id, bytes) = archive.finish();
    Ok((summary?, diff_id, bytes))
}

/// The chunks of the channel as one stream.
struct Chunks {
    receiver: Receiver<Vec<u8>>,
    chunk: io::Cursor<Vec<u8>>,
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.chunk.read(buffer)? {
                0 if !buffer.is_empty() => match self.receiver.recv() {
                    Ok(chunk) => self.chunk = io::Cursor::new(chunk),
                    Err(_) => return Ok(0),
                },
                count => return Ok(count),
            }
        }
    }
}

/// The first thread: read, hash, decompress, check the blob's digest.
fn unpack(
    blob: impl Read,
    promised: Option<(Digest, u64)>,
    limits: &Limits,
    sender: SyncSender<Vec<u8>>,
    abandoned: &AtomicBool,
) -> Result<(), LayerError> {
    // One byte more than promised shows that there is more.
    let longest = promised.map_or(u64::MAX, |(_, size)| size.saturating_add(1));
    let (count, failure) = (Cell::new(0), Cell::new(None));
    let mut blob = HashingReader::new(Blob {
        inner: blob.take(longest),
        count: &count,
        failure: &failure,
    });
    let unpacked = decompress(&mut blob, &count, limits, sender);
    let pointless = matches!(
        unpacked,
        Err(LayerError::Bomb { .. } | LayerError::TooLarge { .. })
    );
    if pointless || abandoned.load(Ordering::Acquire) {
        return unpacked;
    }
    // What fails here is in `failure`.
    let _ = io::copy(&mut blob, &mut io::sink());
    let (actual, bytes) = blob.finish();
    if let Some(failure) = failure.take() {
        return Err(LayerError::Blob(failure));
    }
    match promised {
        Some((_, expected)) if bytes != expected => Err(LayerError::BlobSize {
            expected,
            actual: bytes,
        }),
        Some((expected, _)) if actual != expected => {
            Err(LayerError::BlobDigest { expected, actual })
        }
        _ => unpacked,
    }
}

/// Decompresses into `sender` until the end, a limit, or nobody wants more. `count` is how much of `blob` has been read.
fn decompress(
    mut blob: impl Read,
    count: &Cell<u64>,
    limits: &Limits,
    sender: SyncSender<Vec<u8>>,
) -> Result<(), LayerError> {
    let (head, blob) = peek(&mut blob).map_err(LayerError::Blob)?;
    let compression = Compression::detect(&head)?;
    let broken = |source| LayerError::Decompress {
        name: compression.name(),
        source,
    };
    let mut decoder = compression
        .decoder(BufReader::with_capacity(CHUNK, blob))
        .map_err(broken)?;
    let mut total = 0_u64;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        (&mut decoder)
            .take(CHUNK as u64)
            .read_to_end(&mut chunk)
            .map_err(broken)?;
        total += chunk.len() as u64;
        limits.check(total, count.get())?;
        if chunk.is_empty() || sender.send(chunk).is_err() {
            return Ok(());
        }
    }
}

/// A blob that counts, and keeps its failure from getting lost inside of a decoder.
struct Blob<'a, R> {
    inner: R,
    count: &'a Cell<u64>,
    failure: &'a Cell<Option<io::Error>>,
}

impl<R: Read> Read for Blob<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.inner.read(buffer) {
            Ok(read) => {
                self.count.set(self.count.get() + read as u64);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failure.set(Some(error));
                Err(kind.into())
            }
        }
    }
}
