//! INIT: what client and server agree on.

use rustix::io::Errno;

use super::{DATA_LIMIT, Server};
use crate::passthrough::{Cache, Config, Locks, Readdirplus};
use crate::wire::{InitFlags, InitIn, InitOut, MAJOR, MINOR};

/// Without these a client is too old (before Linux 5.17): requests would have other forms, or bits would not be cleared.
const NEEDED: InitFlags = InitFlags(
    InitFlags::INIT_EXT.0
        | InitFlags::SETXATTR_EXT.0
        | InitFlags::MAX_PAGES.0
        | InitFlags::DONT_MASK.0
        | InitFlags::HANDLE_KILLPRIV_V2.0
        | InitFlags::ATOMIC_O_TRUNC.0,
);
/// Requests that a client sends without anybody waiting for them, such as reading ahead.
const BACKGROUND: u16 = 64;
const PAGE: usize = 4096;

impl Server {
    pub(super) fn init(&self, arguments: &InitIn) -> Result<InitOut, Errno> {
        if arguments.major != MAJOR || !arguments.offered().has(NEEDED) {
            tracing::warn!(
                major = arguments.major,
                minor = arguments.minor,
                "the client's FUSE is too old: it needs Linux 5.17 or newer"
            );
            return Err(Errno::PROTO);
        }
        self.directory.reset();
        let config = self.directory.config();
        let agreed =
            arguments.offered() & wanted(config, self.directory.maps(), self.directory.tells());
        let (flags, flags2) = agreed.words();
        Ok(InitOut {
            major: MAJOR,
            minor: MINOR,
            max_readahead: arguments.max_readahead.min(DATA_LIMIT as u32),
            flags,
            max_background: BACKGROUND,
            congestion_threshold: BACKGROUND / 4 * 3,
            max_write: DATA_LIMIT as u32,
            time_gran: 1,
            max_pages: (DATA_LIMIT / PAGE) as u16,
            map_alignment: PAGE.trailing_zeros() as u16,
            flags2,
            max_stack_depth: 0,
            request_timeout: 0,
            unused: [0; 11],
        })
    }
}

fn wanted(config: &Config, maps: bool, tells: bool) -> InitFlags {
    let host_locks = config.locks == Locks::Host;
    // With it the client asks for a file's times before a read and, when they are new, drops the file's data, even those
    // that it has just written itself.
    let auto_inval_data = config.cache == Cache::Auto && !tells;
    // Clients that are new enough for the rest know both.
    let no_opens = InitFlags::NO_OPEN_SUPPORT | InitFlags::NO_OPENDIR_SUPPORT;
    (NEEDED
        | InitFlags::ASYNC_READ
        | InitFlags::BIG_WRITES
        | InitFlags::ASYNC_DIO
        | InitFlags::PARALLEL_DIROPS
        | InitFlags::POSIX_ACL
        | InitFlags::CACHE_SYMLINKS
        | InitFlags::DIRECT_IO_ALLOW_MMAP
        // Handles of our nodes would mean nothing after the client has forgotten them.
        | InitFlags::NO_EXPORT_SUPPORT)
        .with(no_opens, !config.opens())
        .with(InitFlags::AUTO_INVAL_DATA, auto_inval_data)
        .with(InitFlags::WRITEBACK_CACHE, config.writeback)
        .with(
            InitFlags::DO_READDIRPLUS,
            config.readdirplus != Readdirplus::Never,
        )
        .with(
            InitFlags::READDIRPLUS_AUTO,
            config.readdirplus == Readdirplus::Auto,
        )
        .with(InitFlags::POSIX_LOCKS | InitFlags::FLOCK_LOCKS, host_locks)
        .with(InitFlags::MAP_ALIGNMENT | InitFlags::HAS_INODE_DAX, maps)
        // A client that does not open asks for a truncation of its own, which is refused.
        .without(InitFlags::ATOMIC_O_TRUNC, !config.opens())
}
