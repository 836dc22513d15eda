//! The results of the operations.

#![expect(
    missing_docs,
    reason = "fields are named and explained by the protocol"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::arguments::{FileLock, wire};

wire! {
    /// `fuse_attr`
    Attr {
        ino: u64,
        size: u64,
        blocks: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        nlink: u32,
        uid: u32,
        gid: u32,
        rdev: u32,
        blksize: u32,
        flags: u32,
    }

    /// `fuse_entry_out`; times are how long the name and the attributes may be believed
    EntryOut {
        node: u64,
        generation: u64,
        entry_valid: u64,
        attr_valid: u64,
        entry_valid_nsec: u32,
        attr_valid_nsec: u32,
        attr: Attr,
    }

    /// `fuse_attr_out`
    AttrOut { attr_valid: u64, attr_valid_nsec: u32, dummy: u32, attr: Attr, }

    /// `fuse_sx_time`
    SxTime { sec: i64, nsec: u32, reserved: i32, }

    /// `fuse_statx`
    Statx {
        mask: u32,
        blksize: u32,
        attributes: u64,
        nlink: u32,
        uid: u32,
        gid: u32,
        mode: u16,
        spare0: u16,
        ino: u64,
        size: u64,
        blocks: u64,
        attributes_mask: u64,
        atime: SxTime,
        btime: SxTime,
        ctime: SxTime,
        mtime: SxTime,
        rdev_major: u32,
        rdev_minor: u32,
        dev_major: u32,
        dev_minor: u32,
        spare2: [u64; 14],
    }

    /// `fuse_statx_out`
    StatxOut { attr_valid: u64, attr_valid_nsec: u32, flags: u32, spare: [u64; 2], stat: Statx, }

    /// `fuse_open_out`
    OpenOut { fh: u64, open_flags: u32, padding: u32, }

    /// `fuse_entry_out` and `fuse_open_out`, the result of CREATE and TMPFILE
    CreateOut { entry: EntryOut, open: OpenOut, }

    /// `fuse_write_out`
    WriteOut { size: u32, padding: u32, }

    /// `fuse_statfs_out`
    StatfsOut {
        blocks: u64,
        bfree: u64,
        bavail: u64,
        files: u64,
        ffree: u64,
        bsize: u32,
        namelen: u32,
        frsize: u32,
        padding: u32,
        spare: [u32; 6],
    }

    /// `fuse_getxattr_out`
    GetxattrOut { size: u32, padding: u32, }

    /// `fuse_lk_out`
    LkOut { lk: FileLock, }

    /// `fuse_lseek_out`
    LseekOut { offset: u64, }

    /// `fuse_copy_file_range_out`, of the 64-bit form only
    CopyFileRangeOut { bytes: u64, }

    /// `fuse_dirent` without the name, which follows and is padded to 8 bytes
    Dirent { ino: u64, off: u64, namelen: u32, kind: u32, }
}

impl Attr {
    /// In `flags`: map the file's data, where the client can.
    pub const DAX: u32 = 1 << 1;
}

impl OpenOut {
    /// Bypass the client's page cache.
    pub const DIRECT_IO: u32 = 1;
    /// Keep what the client has cached of the file.
    pub const KEEP_CACHE: u32 = 1 << 1;
    /// Keep the directory's entries in the client's cache.
    pub const CACHE_DIR: u32 = 1 << 3;
    /// Closing a file sends no FLUSH.
    pub const NOFLUSH: u32 = 1 << 5;
    /// Direct writes need not wait for each other.
    pub const PARALLEL_DIRECT_WRITES: u32 = 1 << 6;
}
