//! `--tmpfs PATH[:OPTIONS]`: a file system in the machine's memory.

use std::str::FromStr;

/// What may stand behind the path: the options of tmpfs(5) and mount(8) that make sense for it.
const VALUED: [&str; 4] = ["size", "mode", "nr_inodes", "nr_blocks"];
const PLAIN: [&str; 10] = [
    "rw", "ro", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "relatime",
];

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TmpfsFlag {
    /// Absolute, inside the container.
    pub path: String,
    /// Mount options, each known, with commas between; may be empty.
    pub options: String,
}

/// What is wrong with the flag.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTmpfs {
    /// The path is not absolute, or is the root.
    #[error("`{0}` is no place for a tmpfs: write an absolute path below `/`")]
    Path(String),
    /// An option that tmpfs does not have.
    #[error(
        "`{0}` is no option of a tmpfs: use size=, mode=, nr_inodes=, ro, noexec, nosuid or nodev"
    )]
    Option(String),
}

impl FromStr for TmpfsFlag {
    type Err = BadTmpfs;

    fn from_str(text: &str) -> Result<Self, BadTmpfs> {
        let (path, options) = text.split_once(':').unwrap_or((text, ""));
        let climbs = path.split('/').any(|part| part == "..");
        if !path.starts_with('/') || path.trim_matches('/').is_empty() || climbs {
            return Err(BadTmpfs::Path(path.to_owned()));
        }
        let options: Vec<_> = options
            .split(',')
            .filter(|option| !option.is_empty())
            .collect();
        if let Some(bad) = options.iter().find(|option| !known(option)) {
            return Err(BadTmpfs::Option((*bad).to_owned()));
        }
        Ok(TmpfsFlag {
            path: path.to_owned(),
            options: options.join(","),
        })
    }
}

fn known(option: &str) -> bool {
    match option.split_once('=') {
        Some((name, value)) => {
            VALUED.contains(&name) && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '%')
        }
        None => PLAIN.contains(&option),
    }
}

#[cfg(test)]
#[path = "tmpfs_test.rs"]
mod tests;
