//! Memory as the guest and the host count it.

use std::fs;

use anyhow::{Context, ensure};

use crate::host::Sleeper;

/// Bytes of `Cached`, `Buffers` and `Slab` in the guest: all that it may keep of files.
///
/// # Errors
/// When the guest cannot be asked.
pub fn file_caches(sleeper: &Sleeper<'_>) -> anyhow::Result<f64> {
    let told = sleeper.shell("grep -E '^(Cached|Buffers|Slab):' /proc/meminfo")?;
    let sizes: Vec<u64> = told.lines().filter_map(kilobytes).collect();
    ensure!(sizes.len() == 3, "the guest's /proc/meminfo says {told:?}");
    Ok((sizes.iter().sum::<u64>() * 1024) as f64)
}

/// What of a process's mappings is in memory, in bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
pub struct Resident {
    /// Every page that is mapped and present.
    pub rss: f64,
    /// Each page divided by the number of processes that map it.
    pub pss: f64,
    /// Pages that no other process maps.
    pub private: f64,
}

/// A mapping, by which [`Resident::sum`] chooses.
#[derive(Debug, Clone, Copy)]
pub struct Mapping<'a> {
    /// Its length in bytes.
    pub size: u64,
    /// The file's path, or nothing.
    pub path: &'a str,
}

impl<'a> Mapping<'a> {
    /// A mapping's own line, which alone begins with an address range instead of a name and a colon.
    fn of(line: &'a str) -> Option<Self> {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let address = |text| u64::from_str_radix(text, 16).ok();
        Some(Self {
            size: address(end)?.checked_sub(address(start)?)?,
            // Five words come before it, and blanks.
            path: line.splitn(6, ' ').nth(5).unwrap_or_default().trim(),
        })
    }
}

impl Resident {
    /// Of the process as a whole.
    ///
    /// # Errors
    /// When the process is gone or another user's.
    pub fn of(process: u32) -> anyhow::Result<Self> {
        Self::where_mapping(process, |_| true)
    }

    /// Of the mappings of image files.
    ///
    /// # Errors
    /// As [`Resident::of`].
    pub fn of_images(process: u32) -> anyhow::Result<Self> {
        Self::where_mapping(process, |mapping| mapping.path.ends_with(".erofs"))
    }

    fn where_mapping(process: u32, wanted: impl Fn(Mapping<'_>) -> bool) -> anyhow::Result<Self> {
        let path = format!("/proc/{process}/smaps");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Ok(Self::sum(&text, wanted))
    }

    /// Sums up the mappings in `smaps` that are `wanted` (proc_pid_smaps(5)).
    pub fn sum(smaps: &str, wanted: impl Fn(Mapping<'_>) -> bool) -> Self {
        let (mut sum, mut counts) = (Self::default(), false);
        for line in smaps.lines() {
            let first = line.split_whitespace().next().unwrap_or_default();
            match first {
                "Rss:" if counts => sum.rss += bytes(line),
                "Pss:" if counts => sum.pss += bytes(line),
                "Private_Clean:" | "Private_Dirty:" if counts => sum.private += bytes(line),
                _ => counts = Mapping::of(line).map_or(counts, &wanted),
            }
        }
        sum
    }
}

fn bytes(line: &str) -> f64 {
    kilobytes(line).map_or(0.0, |size| (size * 1024) as f64)
}

/// The number in a line `Name: 123 kB`.
fn kilobytes(line: &str) -> Option<u64> {
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
