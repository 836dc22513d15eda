//! `--tmpfs PATH[:OPTIONS]`: a file system in the machine's memory.

use std::str::FromStr;

use super::{BadMount, MountFlag, Options, SourceFlag, target};

/// One `--tmpfs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsFlag(pub MountFlag);

impl FromStr for TmpfsFlag {
    type Err = BadMount;

    fn from_str(text: &str) -> Result<Self, BadMount> {
        let (at, words) = text.split_once(':').unwrap_or((text, ""));
        let mut options = Options::default();
        for word in words.split(',') {
            options.tmpfs(word)?;
        }
        Ok(Self(MountFlag {
            source: SourceFlag::Tmpfs,
            target: target(at)?,
            options,
        }))
    }
}

#[cfg(test)]
#[path = "tmpfs_test.rs"]
mod tests;
