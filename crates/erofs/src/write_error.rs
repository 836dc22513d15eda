//! What can go wrong while an image is written.

use std::io;

/// Why an entry or an image could not be written. Paths are shown with unprintable bytes escaped.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The image file itself failed.
    #[error("cannot {action} the image file: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The image file holds something already.
    #[error("the image file is not empty ({length} bytes): give a new file")]
    NotEmpty {
        /// Its length in bytes.
        length: u64,
    },
    /// The entry's data could not be read from the caller.
    #[error("cannot read the data of {path}: {source}")]
    Input {
        /// The entry.
        path: String,
        /// The reader's answer.
        source: io::Error,
    },
    /// The entry's data ended early.
    #[error("the data of {path} ends after {found} of {expected} bytes")]
    ShortData {
        /// The entry.
        path: String,
        /// Bytes that were announced.
        expected: u64,
        /// Bytes that came.
        found: u64,
    },
    /// A path that no entry may have.
    #[error("{path}: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// An entry lies below something that is not a directory in this layer.
    #[error("{path} lies below a {name} that is not a directory in this layer")]
    NotADirectory {
        /// The entry.
        path: String,
        /// The name on the way that is no directory.
        name: String,
    },
    /// A hard link to a directory.
    #[error("{path} is a hard link to the directory {target}")]
    LinkToDirectory {
        /// The entry.
        path: String,
        /// The directory.
        target: String,
    },
    /// An extended attribute that EROFS cannot hold.
    #[error("{path}: extended attribute {name}: {reason}")]
    Xattr {
        /// The entry.
        path: String,
        /// The attribute.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// A symbolic link's target that Linux cannot hold.
    #[error("{path}: the link target has {length} bytes; 1 to 4095 without NUL are possible")]
    LinkTarget {
        /// The entry.
        path: String,
        /// Length of the target in bytes.
        length: usize,
    },
    /// A device number that Linux cannot hold.
    #[error(
        "{path}: device {major}:{minor} is out of range (12 bits of major, 20 bits of minor number)"
    )]
    DeviceNumber {
        /// The entry.
        path: String,
        /// The major number.
        major: u32,
        /// The minor number.
        minor: u32,
    },
    /// A time that is not one.
    #[error("{path}: {nanoseconds} nanoseconds is not below one second")]
    Nanoseconds {
        /// The entry.
        path: String,
        /// The value.
        nanoseconds: u32,
    },
    /// A sparse file's map that is not ascending or leaves the file.
    #[error(
        "{path}: the extent at {offset} of {length} bytes overlaps the one before or leaves the file"
    )]
    Extent {
        /// The entry.
        path: String,
        /// Where the extent starts, in bytes.
        offset: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// More than block addresses can express.
    #[error("the image would exceed {limit} blocks of 4 KiB")]
    TooLarge {
        /// The limit in blocks.
        limit: u64,
    },
    /// More entries, or more holes, than are accepted.
    #[error("the image would hold more than {limit} {what}")]
    TooMany {
        /// What is counted.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
}

impl WriteError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }
}

/// A path or name as an error message shows it.
pub(crate) fn show(path: &[u8]) -> String {
    if path.is_empty() {
        "/".to_owned()
    } else {
        path.escape_ascii().to_string()
    }
}
