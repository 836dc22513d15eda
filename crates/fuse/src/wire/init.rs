//! How client and server agree on what both can.

use std::ops::{BitAnd, BitOr};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `fuse_init_in`; `flags2` is valid when `flags` has [`InitFlags::INIT_EXT`]
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub struct InitIn {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub flags: u32,
    pub flags2: u32,
    pub unused: [u32; 11],
}

impl InitIn {
    /// Bytes of it that clients before version 7.36 send.
    pub const SHORT: usize = 16;

    /// What the client can.
    pub fn offered(&self) -> InitFlags {
        let low = InitFlags(u64::from(self.flags));
        if low.has(InitFlags::INIT_EXT) {
            InitFlags(low.0 | u64::from(self.flags2) << 32)
        } else {
            low
        }
    }
}

/// `fuse_init_out`
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub struct InitOut {
    pub major: u32,
    pub minor: u32,
    pub max_readahead: u32,
    pub flags: u32,
    pub max_background: u16,
    pub congestion_threshold: u16,
    pub max_write: u32,
    pub time_gran: u32,
    pub max_pages: u16,
    pub map_alignment: u16,
    pub flags2: u32,
    pub max_stack_depth: u32,
    pub request_timeout: u16,
    pub unused: [u16; 11],
}

/// A set of abilities, both halves in one (`FUSE_ASYNC_READ` and so on).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InitFlags(pub u64);

macro_rules! flags {
    ($($name:ident = $bit:literal,)*) => {
        #[expect(missing_docs, reason = "the names are the protocol's")]
        impl InitFlags {
            $(pub const $name: InitFlags = InitFlags(1 << $bit);)*
        }
    };
}

flags! {
    ASYNC_READ = 0,
    POSIX_LOCKS = 1,
    ATOMIC_O_TRUNC = 3,
    EXPORT_SUPPORT = 4,
    BIG_WRITES = 5,
    DONT_MASK = 6,
    SPLICE_WRITE = 7,
    SPLICE_MOVE = 8,
    SPLICE_READ = 9,
    FLOCK_LOCKS = 10,
    AUTO_INVAL_DATA = 12,
    DO_READDIRPLUS = 13,
    READDIRPLUS_AUTO = 14,
    ASYNC_DIO = 15,
    WRITEBACK_CACHE = 16,
    NO_OPEN_SUPPORT = 17,
    PARALLEL_DIROPS = 18,
    POSIX_ACL = 20,
    ABORT_ERROR = 21,
    MAX_PAGES = 22,
    CACHE_SYMLINKS = 23,
    NO_OPENDIR_SUPPORT = 24,
    MAP_ALIGNMENT = 26,
    HANDLE_KILLPRIV_V2 = 28,
    SETXATTR_EXT = 29,
    INIT_EXT = 30,
    HAS_INODE_DAX = 33,
    DIRECT_IO_ALLOW_MMAP = 36,
    NO_EXPORT_SUPPORT = 38,
}

impl InitFlags {
    /// Whether all of `other` is in it.
    pub fn has(self, other: InitFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// `other` added to it if `condition` holds.
    pub fn with(self, other: InitFlags, condition: bool) -> InitFlags {
        if condition { self | other } else { self }
    }

    /// `other` taken from it if `condition` holds.
    pub fn without(self, other: InitFlags, condition: bool) -> InitFlags {
        if condition {
            InitFlags(self.0 & !other.0)
        } else {
            self
        }
    }

    /// The two words of a reply.
    pub fn words(self) -> (u32, u32) {
        (self.0 as u32, (self.0 >> 32) as u32)
    }
}

impl BitOr for InitFlags {
    type Output = InitFlags;

    fn bitor(self, other: InitFlags) -> InitFlags {
        InitFlags(self.0 | other.0)
    }
}

impl BitAnd for InitFlags {
    type Output = InitFlags;

    fn bitand(self, other: InitFlags) -> InitFlags {
        InitFlags(self.0 & other.0)
    }
}
