//! Mounts as podman writes them: `-v SOURCE:TARGET[:OPTIONS]` ([`volume`]), `--mount type=...,target=...` ([`pairs`]) and
//! `--tmpfs TARGET[:OPTIONS]` ([`tmpfs`]).

pub mod options;
pub mod pairs;
pub mod tmpfs;
pub mod volume;

pub use options::Options;
pub use pairs::PairsFlag;
pub use tmpfs::TmpfsFlag;
pub use volume::VolumeFlag;

use super::name::Name;

/// One mount, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// What.
    pub source: SourceFlag,
    /// Where in the container: absolute and clean, below `/`.
    pub target: String,
    /// How.
    pub options: Options,
}

/// What is mounted, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceFlag {
    /// An empty file system in memory.
    Tmpfs,
    /// A directory or file of the host; may be relative.
    Path(String),
    /// A volume of this name, or one that is made for the container.
    Volume(Option<String>),
}

/// What is wrong with a mount.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadMount {
    /// Not one to three parts, or an empty one.
    #[error(
        "`{0}`: incorrect volume format, should be [SOURCE:]TARGET[:OPTIONS], such as .:/src:ro; a path with a `:` in it \
         goes into --mount"
    )]
    Format(String),
    /// The target is relative.
    #[error("invalid container path `{0}`, must be an absolute path")]
    Relative(String),
    /// The target cannot be covered.
    #[error("nothing can be mounted on `{0}` of a container")]
    Target(String),
    /// Neither a path nor a volume's name.
    #[error(
        "`{0}` is no name of a volume; a path of the host begins with `/` or `.`, such as ./{0}"
    )]
    Source(String),
    /// An option that there is not.
    #[error("`{0}` is no option of {1}")]
    Option(String, &'static str),
    /// An option of podman's that Cenote does not have.
    #[error("mount option `{0}` is not supported: {1}")]
    NotSupported(String, &'static str),
    /// An option without a value that it knows.
    #[error("mount option {0}={1} is not known: use {2}")]
    Value(&'static str, String, &'static str),
    /// `--mount` without what it needs.
    #[error("--mount of type {0} needs {1}=")]
    Missing(&'static str, &'static str),
    /// `--mount` of another type.
    #[error("--mount: there is no type `{0}`: use bind, volume or tmpfs")]
    Type(String),
}

/// A path in the container without `.`, `..` and needless slashes.
pub fn target(path: &str) -> Result<String, BadMount> {
    if !path.starts_with('/') || path.contains('\0') {
        return Err(BadMount::Relative(path.to_owned()));
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    match parts.first() {
        // What the container's own file systems cover.
        None | Some(&"proc") => Err(BadMount::Target(path.to_owned())),
        _ => Ok(format!("/{}", parts.join("/"))),
    }
}

/// A volume's name.
fn volume_name(text: &str) -> Result<String, BadMount> {
    let anonymous = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.parse::<Name>() {
        Err(_) if !anonymous => Err(BadMount::Source(text.to_owned())),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
#[path = "mount_test.rs"]
mod tests;
