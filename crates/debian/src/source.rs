//! Where packages come from.

use std::path::PathBuf;

/// Debian's archive, or files that were fetched some other way.
#[derive(Debug, Clone)]
pub enum Source {
    /// Debian's archive, through a private apt root.
    Archive(Archive),
    /// `.deb` files: for machines without apt or without a network. Their signatures are not checked, whoever gives
    /// them vouches for them.
    Files(Vec<PathBuf>),
}

impl Default for Source {
    fn default() -> Self {
        Self::Archive(Archive::default())
    }
}

/// How to reach Debian's archive and whom to believe.
#[derive(Debug, Clone, Default)]
pub struct Archive {
    /// The mirror's URI (the folder that holds `dists/`); by default the one that the host's apt uses for Debian.
    pub mirror: Option<String>,
    /// The keys that must have signed it; by default [`KEYRING`].
    pub keyring: Option<PathBuf>,
}

/// Debian's archive keys, as its package debian-archive-keyring installs them.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
