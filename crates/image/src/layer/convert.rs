//! A tar archive becomes an EROFS layer.
//!
//! Names: a leading `/` and parts that are `.` are dropped, as docker and umoci do. A part that is `..` is refused wherever it
//! leads: docker refuses it when it leaves the root, umoci clamps it there, and no tool writes it.
//!
//! Marks (OCI image specification, "Image Layer Filesystem Changeset"): `.wh.<name>` hides `<name>` in the layers below, `.wh..wh..opq` hides
//! all of its directory there; other names that begin with `.wh..wh.` are bookkeeping of aufs and are dropped.

use std::fs::File;
use std::io::{self, Read};

use cenote_erofs::{Device, LayerSummary, LayerWriter, Metadata, WriteError};

use super::compression::Unsupported;
use super::tar::{Archive, Entry, Kind};
use super::tar_error::TarError;
use crate::digest::Digest;

/// Why a layer cannot be converted.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The archive is malformed or truncated.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The image cannot be written, or cannot hold an entry.
    #[error(transparent)]
    Write(WriteError),
    /// The blob itself cannot be read.
    #[error("cannot read the layer's blob: {0}")]
    Blob(#[source] io::Error),
    /// The compressed stream is broken.
    #[error("the layer's {name} stream is broken: {source}")]
    Decompress {
        /// The compression.
        name: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
    /// An entry's name leads upwards.
    #[error("the archive has the name `{name}`, which leads out of its directory with `..`")]
    Escape {
        /// The name or link target, unprintable bytes escaped.
        name: String,
    },
    /// A whiteout that hides nothing that can exist.
    #[error("the whiteout `{name}` names no file")]
    Whiteout {
        /// The whole name of the mark.
        name: String,
    },
    /// The root is something else than a directory.
    #[error("the archive's root is no directory")]
    Root,
    /// The compression is one that cannot be undone.
    #[error(transparent)]
    Compression(#[from] Unsupported),
    /// The decompressed archive is larger than is accepted.
    #[error("the layer unpacks to more than {limit} bytes, the limit for one layer")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The archive decompresses to suspiciously much.
    #[error(
        "the layer unpacks to more than {ratio} times its {compressed} compressed bytes: a decompression bomb is refused"
    )]
    Bomb {
        /// The limit.
        ratio: u64,
        /// Compressed bytes read when it was exceeded.
        compressed: u64,
    },
    /// The compressed bytes are not the ones that the manifest names.
    #[error("the layer's blob is not what its digest says: expected {expected}, got {actual}")]
    BlobDigest {
        /// From the manifest.
        expected: Digest,
        /// Of what arrived.
        actual: Digest,
    },
    /// The compressed bytes are fewer or more than the manifest says.
    #[error("the layer's blob has {actual} bytes where its manifest says {expected}")]
    BlobSize {
        /// From the manifest.
        expected: u64,
        /// Of what arrived.
        actual: u64,
    },
    /// The decompressed archive is not the one that the image configuration names.
    #[error(
        "the layer's archive is not what the image configuration says: expected diff id {expected}, got {actual}"
    )]
    DiffId {
        /// From the configuration.
        expected: Digest,
        /// Of what arrived.
        actual: Digest,
    },
}

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const BOOKKEEPING: &[u8] = b".wh..wh.";

/// Reads a whole archive and writes what it says. The stream is read to its end, so that it can be hashed.
pub(super) fn write_layer(
    input: impl Read,
    out: File,
    end_mark: EndMark,
) -> Result<LayerSummary, LayerError> {
    let mut archive = Archive::new(input);
    let mut writer = LayerWriter::new(out).map_err(LayerError::Write)?;
    while let Some(entry) = archive.next_entry()? {
        add(&mut writer, entry, &mut archive)?;
    }
    if end_mark == EndMark::Needed && !archive.has_end_mark() {
        return Err(TarError::Truncated(archive.position()).into());
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(TarError::Read)?;
    writer.finish().map_err(LayerError::Write)
}

/// Whether an archive must end with two blocks of zeros. Some writers of layers leave them out, which does no harm where a
/// digest proves that nothing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EndMark {
    /// Nothing else proves that the archive is complete.
    Needed,
    /// A digest does.
    Optional,
}

fn add<R: Read>(
    writer: &mut LayerWriter,
    entry: Entry,
    archive: &mut Archive<R>,
) -> Result<(), LayerError> {
    let path = normalise(&entry.path)?;
    if let Some(mark) = Mark::of(&path)? {
        return match mark {
            Mark::Whiteout(path) => writer.whiteout(&path),
            Mark::Opaque(directory) => writer.opaque(directory),
            Mark::Bookkeeping => Ok(()),
        }
        .map_err(LayerError::from);
    }
    if path.is_empty() && entry.kind != Kind::Directory {
        return Err(LayerError::Root);
    }
    let meta = Metadata {
        mode: entry.mode,
        uid: entry.uid,
        gid: entry.gid,
        mtime: entry.mtime,
        xattrs: entry.xattrs,
    };
    match entry.kind {
        Kind::File { size } => writer.file(&path, meta, size, &mut archive.data()),
        Kind::Sparse { size, extents } => {
            writer.sparse_file(&path, meta, size, &extents, &mut archive.data())
        }
        Kind::Directory => writer.directory(&path, meta),
        Kind::Symlink(target) => writer.symlink(&path, meta, &target),
        Kind::HardLink(existing) => writer.hard_link(&path, &normalise(&existing)?),
        Kind::Character(major, minor) => {
            writer.device(&path, meta, Device::Character, major, minor)
        }
        Kind::Block(major, minor) => writer.device(&path, meta, Device::Block, major, minor),
        Kind::Fifo => writer.fifo(&path, meta),
    }?;
    Ok(())
}

/// The name without a leading `/`, without parts that are empty or `.`.
fn normalise(name: &[u8]) -> Result<Vec<u8>, LayerError> {
    let parts = || {
        name.split(|byte| *byte == b'/')
            .filter(|part| !matches!(*part, b"" | b"."))
    };
    match parts().any(|part| part == b"..") {
        true => Err(LayerError::Escape {
            name: name.escape_ascii().to_string(),
        }),
        false => Ok(parts().collect::<Vec<_>>().join(&b'/')),
    }
}

enum Mark<'a> {
    Whiteout(Vec<u8>),
    Opaque(&'a [u8]),
    Bookkeeping,
}

impl Mark<'_> {
    fn of(path: &[u8]) -> Result<Option<Mark<'_>>, LayerError> {
        let (directory, name) = match path.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        let Some(hidden) = name.strip_prefix(WHITEOUT) else {
            return Ok(None);
        };
        if name == OPAQUE {
            return Ok(Some(Mark::Opaque(directory)));
        }
        if name.starts_with(BOOKKEEPING) {
            return Ok(Some(Mark::Bookkeeping));
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::Whiteout {
                name: path.escape_ascii().to_string(),
            });
        }
        let start = path.len() - name.len();
        Ok(Some(Mark::Whiteout([&path[..start], hidden].concat())))
    }
}

impl From<WriteError> for LayerError {
    /// The writer reads entry data through the archive; what failed there is the archive's failure.
    fn from(error: WriteError) -> LayerError {
        match error {
            WriteError::Input { source, .. } => TarError::from_read(source).into(),
            error => LayerError::Write(error),
        }
    }
}
