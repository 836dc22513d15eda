//! GETATTR, SETATTR, STATX and ACCESS.

use std::os::fd::AsFd;

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Statx, StatxFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::fd_path::FdPath;
use super::identity::{self, Key};
use super::nodes::Node;
use super::places::Descriptor;
use super::{Caller, Ids, Passthrough};
use crate::host_time;
use crate::wire::{self, AccessIn, AttrOut, GetattrIn, SetattrIn, StatxIn, StatxOut, SxTime};

impl Passthrough {
    pub(crate) fn getattr(&self, node: u64, arguments: &GetattrIn) -> Result<AttrOut, Errno> {
        if arguments.flags & GetattrIn::FH != 0
            && let Ok(file) = self.files.get(arguments.fh)
        {
            return self.attr_out(&file.node, &file.file);
        }
        let (node, place) = self.place(node)?;
        self.attr_out(&node, &*place)
    }

    fn attr_out(&self, node: &Node, file: impl AsFd) -> Result<AttrOut, Errno> {
        let status = identity::status(&file)?;
        let owner = self.config.ids.client_owner(&file, &status);
        node.believed(status.stx_size);
        let lifetime = self.attribute_lifetime(node, &status);
        Ok(AttrOut {
            attr_valid: lifetime.as_secs(),
            attr_valid_nsec: lifetime.subsec_nanos(),
            dummy: 0,
            attr: self.attributes(&status, owner),
        })
    }

    pub(crate) fn statx(&self, node: u64, arguments: &StatxIn) -> Result<StatxOut, Errno> {
        let flags = AtFlags::from_bits_retain(arguments.sx_flags)
            & (AtFlags::STATX_FORCE_SYNC | AtFlags::STATX_DONT_SYNC);
        let (node, place) = self.place(node)?;
        let found = host_time::call(|| {
            rustix::fs::statx(
                &*place,
                c"",
                flags | AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW,
                StatxFlags::BASIC_STATS | StatxFlags::BTIME,
            )
        })?;
        let owner = self.config.ids.client_owner(&*place, &found);
        node.believed(found.stx_size);
        let lifetime = self.attribute_lifetime(&node, &found);
        Ok(StatxOut {
            attr_valid: lifetime.as_secs(),
            attr_valid_nsec: lifetime.subsec_nanos(),
            flags: self.attributes(&found, owner).flags,
            spare: [0; 2],
            stat: self.statx_out(&found, node.key, owner),
        })
    }

    fn statx_out(&self, found: &Statx, key: Key, owner: (u32, u32)) -> wire::Statx {
        let time = |time: &rustix::fs::StatxTimestamp| SxTime {
            sec: time.tv_sec,
            nsec: time.tv_nsec,
            reserved: 0,
        };
        let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
        wire::Statx {
            mask: found.stx_mask & asked.bits(),
            blksize: found.stx_blksize,
            attributes: found.stx_attributes.bits(),
            nlink: found.stx_nlink,
            uid: owner.0,
            gid: owner.1,
            mode: found.stx_mode,
            spare0: 0,
            ino: self.numbers.of(&key),
            size: found.stx_size,
            blocks: found.stx_blocks,
            attributes_mask: found.stx_attributes_mask.bits(),
            atime: time(&found.stx_atime),
            btime: time(&found.stx_btime),
            ctime: time(&found.stx_ctime),
            mtime: time(&found.stx_mtime),
            rdev_major: found.stx_rdev_major,
            rdev_minor: found.stx_rdev_minor,
            dev_major: found.stx_dev_major,
            dev_minor: found.stx_dev_minor,
            spare2: [0; 14],
        }
    }

    pub(crate) fn setattr(
        &self,
        caller: &mut Caller<'_>,
        arguments: &SetattrIn,
    ) -> Result<AttrOut, Errno> {
        let (node, place) = self.place(caller.header.node)?;
        let asks = |flags: u32| arguments.valid & flags != 0;
        if asks(SetattrIn::UID | SetattrIn::GID | SetattrIn::SIZE) {
            self.drop_mapped_capability(&*place)?;
        }
        // The owner first: giving a file away clears bits that a new mode may set.
        if asks(SetattrIn::UID | SetattrIn::GID) {
            self.change_owner(&place, arguments)?;
        }
        if asks(SetattrIn::MODE) {
            let mode = Mode::from_raw_mode(arguments.mode & 0o7777);
            // The client has already decided whether the set-group-id bit may stay.
            caller.worker.keep_bits(true)?;
            host_time::call(|| {
                rustix::fs::chmodat(
                    rustix::fs::CWD,
                    FdPath::new(&*place).as_c_str(),
                    mode,
                    AtFlags::empty(),
                )
            })?;
        }
        if asks(SetattrIn::SIZE) {
            caller.worker.keep_bits(!asks(SetattrIn::KILL_SUIDGID))?;
            let open = asks(SetattrIn::FH)
                .then(|| self.files.get(arguments.fh))
                .transpose()?;
            match open {
                Some(open) => {
                    host_time::call(|| rustix::fs::ftruncate(&open.file, arguments.size))?
                }
                None => {
                    let file = Self::open_again(&node, &place, OFlags::WRONLY)?;
                    host_time::call(|| rustix::fs::ftruncate(file, arguments.size))?;
                }
            }
        }
        if asks(SetattrIn::ATIME | SetattrIn::MTIME) {
            host_time::call(|| {
                rustix::fs::utimensat(&*place, c"", &times(arguments), AtFlags::EMPTY_PATH)
            })?;
        }
        self.attr_out(&node, &*place)
    }

    fn change_owner(&self, place: &Descriptor, arguments: &SetattrIn) -> Result<(), Errno> {
        let ids = &self.config.ids;
        let user = (arguments.valid & SetattrIn::UID != 0).then_some(arguments.uid);
        let group = (arguments.valid & SetattrIn::GID != 0).then_some(arguments.gid);
        let (uid, gid) = if let Ids::Owner(_) = ids {
            ids.give(place, &identity::status(place)?, user, group)?;
            // The host's owner stays; what goes with a change of it goes.
            (None, None)
        } else {
            (
                user.map(|user| ids.host_user(user)).transpose()?,
                group.map(|group| ids.host_group(group)).transpose()?,
            )
        };
        host_time::call(|| {
            rustix::fs::chownat(
                place,
                c"",
                uid.map(Uid::from_raw),
                gid.map(Gid::from_raw),
                AtFlags::EMPTY_PATH,
            )
        })
    }

    /// Asked only by clients that do not check permissions themselves.
    pub(crate) fn access(&self, node: u64, arguments: &AccessIn) -> Result<(), Errno> {
        let place = self.place(node)?.1;
        let access = rustix::fs::Access::from_bits(arguments.mask).ok_or(Errno::INVAL)?;
        host_time::call(|| {
            rustix::fs::accessat(
                rustix::fs::CWD,
                FdPath::new(place.as_fd()).as_c_str(),
                access,
                AtFlags::EACCESS,
            )
        })
    }
}

fn times(arguments: &SetattrIn) -> Timestamps {
    let time = |asked: u32, now: u32, sec: u64, nsec: u32| {
        let special = |tv_nsec| Timespec { tv_sec: 0, tv_nsec };
        if arguments.valid & now != 0 {
            special(rustix::fs::UTIME_NOW)
        } else if arguments.valid & asked != 0 {
            Timespec {
                tv_sec: sec as i64,
                tv_nsec: nsec.into(),
            }
        } else {
            special(rustix::fs::UTIME_OMIT)
        }
    };
    Timestamps {
        last_access: time(
            SetattrIn::ATIME,
            SetattrIn::ATIME_NOW,
            arguments.atime,
            arguments.atimensec,
        ),
        last_modification: time(
            SetattrIn::MTIME,
            SetattrIn::MTIME_NOW,
            arguments.mtime,
            arguments.mtimensec,
        ),
    }
}
