//! What can be wrong with a tar archive.

use std::io;

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream itself failed: the network, the disk, or the compression around the archive.
    #[error("cannot read the archive: {0}")]
    Read(#[source] io::Error),
    /// The stream ends inside of an entry, or without the two blocks of zeros that end an archive.
    #[error(
        "the archive is truncated: it ends at byte {0}, inside of an entry or before its end mark"
    )]
    Truncated(u64),
    /// A block that should be a header is none: its checksum is wrong.
    #[error("no tar header at byte {0}: its checksum is wrong")]
    Checksum(u64),
    /// A number in a header is neither octal nor base-256, or too large.
    #[error("the tar header at byte {offset} has a bad number in the field `{field}`")]
    Number {
        /// Where the header starts in the archive.
        offset: u64,
        /// The field's name in POSIX or GNU tar.
        field: &'static str,
    },
    /// A pax extension record is malformed.
    #[error("the pax header at byte {offset} is malformed: {problem}")]
    Pax {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The map of a sparse file is malformed.
    #[error("the sparse file at byte {offset} has a bad map: {problem}")]
    Sparse {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A name, target, xattr or extension header is longer than Linux allows.
    #[error("the tar header at byte {offset} has a {what} of {size} bytes, longer than {limit}")]
    TooLong {
        /// Where the header starts in the archive.
        offset: u64,
        /// What is too long.
        what: &'static str,
        /// How long it is, in bytes.
        size: u64,
        /// How long it may be, in bytes.
        limit: u64,
    },
    /// A name or a link target is empty where there must be one, or contains a NUL.
    #[error("the tar header at byte {offset} has an empty {what} or a NUL in it")]
    Name {
        /// Where the header starts in the archive.
        offset: u64,
        /// Which name is wrong.
        what: &'static str,
    },
    /// An entry of a type that no layer can contain (a multi-volume part, a sparse index, a vendor's own).
    #[error("the tar header at byte {offset} has the unknown entry type `{}`", char::from(*.kind).escape_default())]
    UnknownType {
        /// Where the header starts in the archive.
        offset: u64,
        /// The type flag.
        kind: u8,
    },
}

impl TarError {
    /// Tells the end of the stream from other failures of reading entry data.
    pub(super) fn from_read(error: io::Error) -> TarError {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<EndOfArchive>())
        {
            Some(EndOfArchive(position)) => TarError::Truncated(*position),
            None => TarError::Read(error),
        }
    }
}

/// Inside of an [`io::Error`]: the archive ended in the middle of an entry's data.
#[derive(Debug, thiserror::Error)]
#[error("the archive ends at byte {0}, inside of an entry")]
pub(super) struct EndOfArchive(pub(super) u64);
