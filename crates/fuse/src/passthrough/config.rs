//! How a directory is passed through.

use std::ffi::CString;
use std::time::Duration;

use super::ids::Ids;
use super::xattr_map::XattrMap;

/// How a directory is passed through.
#[derive(Debug, Clone)]
pub struct Config {
    /// Refuse whatever would change something, with EROFS.
    pub read_only: bool,
    /// Show this entry only, and refuse to change the directory itself.
    pub only: Option<CString>,
    /// What the client may keep.
    pub cache: Cache,
    /// Whom files belong to.
    pub ids: Ids,
    /// Where locks are held.
    pub locks: Locks,
    /// Which extended attributes the client sees, and under which names.
    pub xattrs: XattrMap,
    /// Let the client collect writes. It then believes its own sizes and times: only for directories that nobody else
    /// changes.
    pub writeback: bool,
    /// Whether listing a directory looks its entries up as well.
    pub readdirplus: Readdirplus,
    /// Mark files of this many bytes and more for mapping (per-file DAX), for clients with a window.
    pub map_from: Option<u64>,
    /// How many descriptors of files that the client merely knows stay open, where closing them is possible. Half of this
    /// directory's part of the process's limit is the most, which is raised as far as it goes.
    pub descriptors: usize,
    /// How many directories this process passes through: each gets its part of the process's limit of descriptors.
    pub together: usize,
}

/// What a client may keep, by virtiofsd's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cache {
    /// Neither data nor names nor attributes.
    Never,
    /// Names and attributes, but no data.
    Metadata,
    /// All, for a second; data as long as the file was not changed when it is opened.
    Auto,
    /// All, for good: nobody else changes anything.
    Always,
}

/// Where locks of files (`fcntl(2)`, `flock(2)`) are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// By the client, among its own processes.
    Local,
    /// By the host, among all who use the file.
    Host,
}

/// Whether listing a directory looks its entries up as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readdirplus {
    /// Never.
    Never,
    /// When the client guesses that it will need them.
    Auto,
    /// Always.
    Always,
}

/// Names and attributes are believed this long by [`Cache::Auto`].
const AUTO: Duration = Duration::from_secs(1);
/// A day: for good, as far as a cache is concerned.
const ALWAYS: Duration = Duration::from_secs(86_400);

impl Cache {
    /// How long names and attributes may be believed.
    pub fn lifetime(self) -> Duration {
        match self {
            Cache::Never => Duration::ZERO,
            Cache::Auto => AUTO,
            Cache::Metadata | Cache::Always => ALWAYS,
        }
    }

    /// Whether the client may have a page cache of the files.
    pub fn data(self) -> bool {
        matches!(self, Cache::Auto | Cache::Always)
    }
}

impl Config {
    /// How long names and attributes may be believed. A file that is shared alone has no name that could be looked up
    /// anew when it is opened, so nothing else tells its length.
    pub(super) fn lifetime(&self) -> Duration {
        match (&self.only, self.cache) {
            (Some(_), Cache::Auto) => Duration::ZERO,
            _ => self.cache.lifetime(),
        }
    }

    /// Whether the client opens files and directories, and does not merely read them: so it must where opening tells it
    /// anything, or where the server has something to keep until they are closed.
    pub(crate) fn opens(&self) -> bool {
        !(self.read_only && self.cache == Cache::Always && self.locks == Locks::Local)
    }
}

impl Default for Config {
    fn default() -> Config {
        Config {
            read_only: false,
            only: None,
            cache: Cache::Auto,
            ids: Ids::Same,
            locks: Locks::Local,
            xattrs: XattrMap::default(),
            writeback: false,
            readdirplus: Readdirplus::Auto,
            map_from: None,
            descriptors: 16_384,
            together: 1,
        }
    }
}
