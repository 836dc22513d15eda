//! Small JSON files that are replaced whole.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

/// A file of ours beyond this length was not written by us.
const MAX_LENGTH: u64 = 4 << 20;

/// Replaces the file at `path`: whoever reads sees the old content or the new, also after a crash of this process.
pub(crate) fn replace<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    fs::rename(&beside, path)
}

/// Reads the file at `path`.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let file = File::open(path)?;
    if file.metadata()?.len() > MAX_LENGTH {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(serde_json::from_reader(io::BufReader::new(file))?)
}
