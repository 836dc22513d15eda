//! CREATE, TMPFILE, MKNOD, MKDIR, SYMLINK, LINK and READLINK.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::entries::Told;
use super::fd_path::FdPath;
use super::lifetimes::Parent;
use super::opening::{File, Opened, flags_of};
use super::places::Descriptor;
use super::{Caller, Passthrough, find, identity};
use crate::host_time;
use crate::wire::{CreateIn, LinkIn, MkdirIn, MknodIn, Name, OpenIn, Target};

impl Passthrough {
    pub(crate) fn create(
        &self,
        caller: &mut Caller<'_>,
        arguments: &CreateIn,
        name: Name<'_>,
    ) -> Result<(Told, Opened), Errno> {
        let parent = self.parent(caller.header.node)?;
        self.act(caller, arguments.umask)?;
        let asked = flags_of(arguments.flags, self.config.writeback);
        let created = host_time::call(|| {
            rustix::fs::openat(
                &*parent.file,
                name.as_c_str(),
                asked.difference(OFlags::TRUNC)
                    | OFlags::CREATE
                    | OFlags::EXCL
                    | OFlags::NOFOLLOW
                    | OFlags::CLOEXEC,
                permissions(arguments.mode),
            )
        });
        let exclusive = arguments.flags & OFlags::EXCL.bits() != 0;
        match created {
            Ok(file) => {
                self.keep(caller, &parent.file, &file)?;
                self.created(file, arguments.flags, Some((&parent, name)))
            }
            // Somebody else made it after the client had looked: it may be anything, so it is opened with care.
            Err(Errno::EXIST) if !exclusive => {
                let told = self.entry(&parent, name)?;
                let open = OpenIn {
                    flags: arguments.flags,
                    open_flags: arguments.open_flags,
                };
                match self.open(caller, told.0.node, &open) {
                    Ok(opened) => Ok((told, opened)),
                    Err(error) => {
                        self.untell(&told.0);
                        Err(error)
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    pub(crate) fn tmpfile(
        &self,
        caller: &mut Caller<'_>,
        arguments: &CreateIn,
    ) -> Result<(Told, Opened), Errno> {
        let directory = self.place(caller.header.node)?.1;
        self.act(caller, arguments.umask)?;
        let exclusive = OFlags::from_bits_retain(arguments.flags) & OFlags::EXCL;
        let file = host_time::call(|| {
            rustix::fs::openat(
                &*directory,
                c".",
                flags_of(arguments.flags, self.config.writeback)
                    | exclusive
                    | OFlags::TMPFILE
                    | OFlags::CLOEXEC,
                permissions(arguments.mode),
            )
        })?;
        self.keep(caller, &directory, &file)?;
        self.created(file, arguments.flags, None)
    }

    fn created(
        &self,
        file: OwnedFd,
        flags: u32,
        seen: Option<(&Parent, Name<'_>)>,
    ) -> Result<(Told, Opened), Errno> {
        let place = host_time::call(|| {
            rustix::fs::open(
                FdPath::new(&file).as_c_str(),
                OFlags::PATH | OFlags::CLOEXEC,
                Mode::empty(),
            )
        })?;
        let status = identity::status(&place)?;
        let seen_as = seen.map(|(parent, name)| (parent.node.id, name));
        let node = self.nodes.tell(place, &status, seen_as).0;
        let told = self.entry_out(&node, status, seen.map(|(parent, _)| parent))?;
        match self.opened(File::new(node, file), flags, Some(&status)) {
            Ok(opened) => Ok((told, opened)),
            Err(error) => {
                self.untell(&told.0);
                Err(error)
            }
        }
    }

    pub(crate) fn mknod(
        &self,
        caller: &mut Caller<'_>,
        arguments: &MknodIn,
        name: Name<'_>,
    ) -> Result<Told, Errno> {
        let parent = self.parent(caller.header.node)?;
        self.act(caller, arguments.umask)?;
        let device = u64::from(arguments.rdev);
        host_time::call(|| {
            rustix::fs::mknodat(
                &*parent.file,
                name.as_c_str(),
                FileType::from_raw_mode(arguments.mode),
                permissions(arguments.mode),
                rustix::fs::makedev(
                    ((device >> 8) & 0xfff) as u32,
                    ((device & 0xff) | ((device >> 12) & 0xf_ff00)) as u32,
                ),
            )
        })?;
        self.keep_entry(caller, &parent.file, name)?;
        self.entry(&parent, name)
    }

    pub(crate) fn mkdir(
        &self,
        caller: &mut Caller<'_>,
        arguments: &MkdirIn,
        name: Name<'_>,
    ) -> Result<Told, Errno> {
        let parent = self.parent(caller.header.node)?;
        self.act(caller, arguments.umask)?;
        host_time::call(|| {
            rustix::fs::mkdirat(&*parent.file, name.as_c_str(), permissions(arguments.mode))
        })?;
        self.keep_entry(caller, &parent.file, name)?;
        self.entry(&parent, name)
    }

    pub(crate) fn symlink(
        &self,
        caller: &mut Caller<'_>,
        name: Name<'_>,
        target: Target<'_>,
    ) -> Result<Told, Errno> {
        let parent = self.parent(caller.header.node)?;
        self.act(caller, 0)?;
        host_time::call(|| {
            rustix::fs::symlinkat(target.as_c_str(), &*parent.file, name.as_c_str())
        })?;
        self.entry(&parent, name)
    }

    pub(crate) fn link(
        &self,
        parent: u64,
        arguments: &LinkIn,
        name: Name<'_>,
    ) -> Result<Told, Errno> {
        let file = self.place(arguments.oldnode)?.1;
        let parent = self.parent(parent)?;
        link_here(&file, &parent.file, name)?;
        self.entry(&parent, name)
    }

    pub(crate) fn readlink(&self, node: u64) -> Result<Vec<u8>, Errno> {
        let link = self.place(node)?.1;
        let target = host_time::call(|| rustix::fs::readlinkat(&*link, c"", Vec::new()))?;
        Ok(target.into_bytes())
    }

    /// The new entry `name` belongs to the caller, where it can keep that.
    fn keep_entry(
        &self,
        caller: &Caller<'_>,
        directory: &Descriptor,
        name: Name<'_>,
    ) -> Result<(), Errno> {
        if !self.config.ids.keeps() {
            return Ok(());
        }
        self.keep(caller, directory, find(directory, name)?)
    }

    /// The new `file` in `directory` belongs to the caller, where it can keep that.
    fn keep(
        &self,
        caller: &Caller<'_>,
        directory: &Descriptor,
        file: impl AsFd,
    ) -> Result<(), Errno> {
        let ids = &self.config.ids;
        if !ids.keeps() {
            return Ok(());
        }
        let above = identity::status(directory)?;
        let inherits = u32::from(above.stx_mode) & Mode::SGID.bits() != 0;
        let group = match inherits {
            true => ids.client_owner(directory, &above).1,
            false => caller.header.gid,
        };
        let status = identity::status(&file)?;
        ids.give(file, &status, Some(caller.header.uid), Some(group))
    }

    /// New files belong to the caller from now on, and get the caller's umask; if there is room for any.
    pub(super) fn act(&self, caller: &mut Caller<'_>, umask: u32) -> Result<(), Errno> {
        self.nodes.places.room()?;
        caller.worker.mask(umask);
        caller.worker.keep_bits(true)?;
        self.act_as_caller(caller)
    }

    /// What the thread does from now on, it does as the caller, if it can be another.
    pub(super) fn act_as_caller(&self, caller: &mut Caller<'_>) -> Result<(), Errno> {
        let header = &caller.header;
        let (user, group) = self.config.ids.acts_as(header.uid, header.gid);
        caller.worker.act_as(user, group)
    }
}

fn link_here(file: &Descriptor, directory: &Descriptor, name: Name<'_>) -> Result<(), Errno> {
    host_time::call(|| {
        rustix::fs::linkat(
            rustix::fs::CWD,
            FdPath::new(file.as_fd()).as_c_str(),
            directory,
            name.as_c_str(),
            AtFlags::SYMLINK_FOLLOW,
        )
    })
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
