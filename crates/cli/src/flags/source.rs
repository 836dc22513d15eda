//! Where Debian packages come from: flags that `kernel install` and `tools install` share.

use std::path::PathBuf;

use cenote_debian::Source;
use cenote_debian::source::Archive;
use clap::Args;

/// The archive, or files.
#[derive(Debug, Args)]
pub struct SourceFlags {
    /// Mirror of Debian's archive [default: the one that this system's apt uses]
    #[arg(long, value_name = "URI")]
    mirror: Option<String>,
    /// Keys that must have signed the archive
    #[arg(long, value_name = "FILE")]
    keyring: Option<PathBuf>,
    /// Take packages that were fetched some other way; their signatures are not checked
    #[arg(long, value_name = "FILE.deb", conflicts_with_all = ["mirror", "keyring"])]
    deb: Vec<PathBuf>,
}

impl SourceFlags {
    /// The source that the flags mean.
    pub fn source(self) -> Source {
        if self.deb.is_empty() {
            Source::Archive(Archive {
                mirror: self.mirror,
                keyring: self.keyring,
            })
        } else {
            Source::Files(self.deb)
        }
    }
}
