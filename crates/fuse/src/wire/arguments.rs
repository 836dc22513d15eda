//! The fixed arguments of the operations.

#![expect(
    missing_docs,
    reason = "fields are named and explained by the protocol; what is ours is said at the struct"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! wire {
    ($($(#[$meta:meta])* $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
            #[repr(C)]
            pub struct $name {
                $(pub $field: $type,)*
            }
        )*
    };
}
pub(super) use wire;

wire! {
    /// `fuse_forget_in`
    ForgetIn { nlookup: u64, }

    /// `fuse_forget_one`, an item of BATCH_FORGET
    ForgetOne { node: u64, nlookup: u64, }

    /// `fuse_batch_forget_in`
    BatchForgetIn { count: u32, dummy: u32, }

    /// `fuse_getattr_in`
    GetattrIn { flags: u32, dummy: u32, fh: u64, }

    /// `fuse_setattr_in`; `valid` has [`SetattrIn::MODE`] and so on
    SetattrIn {
        valid: u32,
        padding: u32,
        fh: u64,
        size: u64,
        lock_owner: u64,
        atime: u64,
        mtime: u64,
        ctime: u64,
        atimensec: u32,
        mtimensec: u32,
        ctimensec: u32,
        mode: u32,
        unused4: u32,
        uid: u32,
        gid: u32,
        unused5: u32,
    }

    /// `fuse_mknod_in`
    MknodIn { mode: u32, rdev: u32, umask: u32, padding: u32, }

    /// `fuse_mkdir_in`
    MkdirIn { mode: u32, umask: u32, }

    /// `fuse_rename_in`
    RenameIn { newdir: u64, }

    /// `fuse_rename2_in`
    Rename2In { newdir: u64, flags: u32, padding: u32, }

    /// `fuse_link_in`
    LinkIn { oldnode: u64, }

    /// `fuse_open_in`; `open_flags` has [`OPEN_KILL_SUIDGID`]
    OpenIn { flags: u32, open_flags: u32, }

    /// `fuse_create_in`, also of TMPFILE
    CreateIn { flags: u32, mode: u32, umask: u32, open_flags: u32, }

    /// `fuse_release_in`
    ReleaseIn { fh: u64, flags: u32, release_flags: u32, lock_owner: u64, }

    /// `fuse_flush_in`
    FlushIn { fh: u64, unused: u32, padding: u32, lock_owner: u64, }

    /// `fuse_read_in`, also of READDIR and READDIRPLUS
    ReadIn {
        fh: u64,
        offset: u64,
        size: u32,
        read_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }

    /// `fuse_write_in`; `write_flags` has [`WriteIn::CACHE`] and [`WriteIn::KILL_SUIDGID`]
    WriteIn {
        fh: u64,
        offset: u64,
        size: u32,
        write_flags: u32,
        lock_owner: u64,
        flags: u32,
        padding: u32,
    }

    /// `fuse_fsync_in`, also of FSYNCDIR; bit 0 of `flags` leaves out what is not needed to read the data
    FsyncIn { fh: u64, flags: u32, padding: u32, }

    /// The first half of `fuse_setxattr_in`, which is all that comes without SETXATTR_EXT
    SetxattrIn { size: u32, flags: u32, }

    /// The second half of `fuse_setxattr_in`
    SetxattrExtIn { setxattr_flags: u32, padding: u32, }

    /// `fuse_getxattr_in`, also of LISTXATTR
    GetxattrIn { size: u32, padding: u32, }

    /// `fuse_file_lock`; `end` is included, `kind` is F_RDLCK, F_WRLCK or F_UNLCK
    FileLock { start: u64, end: u64, kind: u32, pid: u32, }

    /// `fuse_lk_in`; bit 0 of `lk_flags` means flock(2)
    LkIn { fh: u64, owner: u64, lk: FileLock, lk_flags: u32, padding: u32, }

    /// `fuse_access_in`
    AccessIn { mask: u32, padding: u32, }

    /// `fuse_interrupt_in`
    InterruptIn { unique: u64, }

    /// `fuse_fallocate_in`
    FallocateIn { fh: u64, offset: u64, length: u64, mode: u32, padding: u32, }

    /// `fuse_lseek_in`
    LseekIn { fh: u64, offset: u64, whence: u32, padding: u32, }

    /// `fuse_copy_file_range_in`, of both forms
    CopyFileRangeIn {
        fh_in: u64,
        off_in: u64,
        node_out: u64,
        fh_out: u64,
        off_out: u64,
        len: u64,
        flags: u64,
    }

    /// `fuse_setupmapping_in`; offsets and lengths in bytes, `moffset` in the window
    SetupmappingIn { fh: u64, foffset: u64, len: u64, flags: u64, moffset: u64, }

    /// `fuse_removemapping_in`
    RemovemappingIn { count: u32, }

    /// `fuse_removemapping_one`
    RemovemappingOne { moffset: u64, len: u64, }

    /// `fuse_statx_in`
    StatxIn { getattr_flags: u32, reserved: u32, fh: u64, sx_flags: u32, sx_mask: u32, }
}

impl GetattrIn {
    /// `fh` is an open file.
    pub const FH: u32 = 1;
}

impl SetattrIn {
    pub const MODE: u32 = 1;
    pub const UID: u32 = 1 << 1;
    pub const GID: u32 = 1 << 2;
    pub const SIZE: u32 = 1 << 3;
    pub const ATIME: u32 = 1 << 4;
    pub const MTIME: u32 = 1 << 5;
    pub const FH: u32 = 1 << 6;
    pub const ATIME_NOW: u32 = 1 << 7;
    pub const MTIME_NOW: u32 = 1 << 8;
    pub const KILL_SUIDGID: u32 = 1 << 11;
}

impl WriteIn {
    /// The data come from the page cache, `fh` is a guess and `O_APPEND` means nothing.
    pub const CACHE: u32 = 1;
    /// The writer has no right to leave set-user-id and set-group-id bits.
    pub const KILL_SUIDGID: u32 = 1 << 2;
}

impl ReleaseIn {
    /// Give back the owner's flock(2) locks.
    pub const FLOCK_UNLOCK: u32 = 1 << 1;
}

impl SetxattrExtIn {
    /// Whoever sets the access control list has no right to leave the set-group-id bit.
    pub const ACL_KILL_SGID: u32 = 1;
}

impl LkIn {
    /// It is flock(2)'s lock.
    pub const FLOCK: u32 = 1;
}

impl SetupmappingIn {
    pub const WRITE: u64 = 1;
    pub const READ: u64 = 1 << 1;
}

/// In `open_flags` of OPEN, CREATE and TMPFILE: truncation clears set-user-id and set-group-id bits.
pub const OPEN_KILL_SUIDGID: u32 = 1;
