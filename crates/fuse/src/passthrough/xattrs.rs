//! SETXATTR, GETXATTR, LISTXATTR and REMOVEXATTR, and the ids in access control lists.

use std::borrow::Cow;
use std::ffi::CStr;
use std::os::fd::AsFd;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use super::fd_path::FdPath;
use super::{Caller, Ids, Passthrough};
use crate::host_time;
use crate::wire::{SetxattrExtIn, SetxattrIn, XattrName};

/// `XATTR_SIZE_MAX` and `XATTR_LIST_MAX`: the longest value, and the longest list of names.
pub(crate) const VALUE_LIMIT: usize = 65_536;

impl Passthrough {
    pub(crate) fn setxattr(
        &self,
        caller: &mut Caller<'_>,
        arguments: &SetxattrIn,
        more: &SetxattrExtIn,
        name: XattrName<'_>,
        value: &[u8],
    ) -> Result<(), Errno> {
        if value.len() > VALUE_LIMIT {
            return Err(Errno::TOOBIG);
        }
        let name = self.host_name(name)?.ok_or(Errno::PERM)?;
        let value = self.list_to_host(&name, value)?;
        let place = self.place(caller.header.node)?.1;
        let flags = XattrFlags::from_bits(arguments.flags).ok_or(Errno::INVAL)?;
        let kills = more.setxattr_flags & SetxattrExtIn::ACL_KILL_SGID != 0;
        caller.worker.keep_bits(!kills)?;
        if kills {
            self.act_as_caller(caller)?;
        }
        host_time::call(|| {
            rustix::fs::setxattr(FdPath::new(&*place).as_c_str(), &*name, &value, flags)
        })
    }

    /// The value's length, or the value in `buffer` if that has room for any.
    pub(crate) fn getxattr(
        &self,
        node: u64,
        name: XattrName<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, Errno> {
        let name = self.host_name(name)?.ok_or(Errno::NODATA)?;
        let place = self.place(node)?.1;
        let path = FdPath::new(&*place);
        if buffer.is_empty() {
            return host_time::call(|| rustix::fs::getxattr_query(path.as_c_str(), &*name));
        }
        let len = host_time::call(|| rustix::fs::getxattr(path.as_c_str(), &*name, &mut *buffer))?;
        self.list_to_client(&name, &mut buffer[..len]);
        Ok(len)
    }

    /// The length of all names, each with a zero byte, or these in `buffer` if that has room for any.
    pub(crate) fn listxattr(&self, node: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let place = self.place(node)?.1;
        let mut names = vec![0; VALUE_LIMIT];
        let len = host_time::call(|| {
            rustix::fs::listxattr(FdPath::new(&*place).as_c_str(), &mut names[..])
        })?;
        let mut used = 0;
        for name in names[..len].split(|byte| *byte == 0) {
            let Some(name) = self.config.xattrs.to_client(name) else {
                continue;
            };
            if name.is_empty() {
                continue;
            }
            let end = used + name.len() + 1;
            if !buffer.is_empty() {
                let room = buffer.get_mut(used..end).ok_or(Errno::RANGE)?;
                room[..name.len()].copy_from_slice(name);
                room[name.len()] = 0;
            }
            used = end;
        }
        Ok(used)
    }

    pub(crate) fn removexattr(&self, node: u64, name: XattrName<'_>) -> Result<(), Errno> {
        let name = self.host_name(name)?.ok_or(Errno::NODATA)?;
        let place = self.place(node)?.1;
        host_time::call(|| rustix::fs::removexattr(FdPath::new(&*place).as_c_str(), &*name))
    }

    /// Before a change of a file's data or owner: the client leaves it to the server to take a program's capabilities
    /// away (`FUSE_HANDLE_KILLPRIV_V2`). The host does so itself, but not where a map keeps them under another name.
    pub(super) fn drop_mapped_capability(&self, file: impl AsFd) -> Result<(), Errno> {
        let Some(Cow::Owned(name)) = self.config.xattrs.to_host(c"security.capability")? else {
            return Ok(());
        };
        let removed =
            host_time::call(|| rustix::fs::removexattr(FdPath::new(file).as_c_str(), &*name));
        match removed {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            removed => removed,
        }
    }

    fn host_name<'a>(&self, name: XattrName<'a>) -> Result<Option<Cow<'a, CStr>>, Errno> {
        self.config.xattrs.to_host(name.as_c_str())
    }

    /// `value` with the host's ids, if it is an access control list.
    fn list_to_host<'a>(&self, name: &CStr, value: &'a [u8]) -> Result<Cow<'a, [u8]>, Errno> {
        if self.config.ids == Ids::Same || !is_access_list(name) {
            return Ok(Cow::Borrowed(value));
        }
        let mut value = value.to_vec();
        each_id(&mut value, |tag, id| match tag {
            ACL_USER => self.config.ids.host_user(id),
            _ => self.config.ids.host_group(id),
        })?;
        Ok(Cow::Owned(value))
    }

    fn list_to_client(&self, name: &CStr, value: &mut [u8]) {
        if self.config.ids == Ids::Same || !is_access_list(name) {
            return;
        }
        let translated = each_id(value, |tag, id| match tag {
            ACL_USER => Ok(self.config.ids.client_user(id)),
            _ => Ok(self.config.ids.client_group(id)),
        });
        debug_assert!(translated.is_ok(), "every host id has a name");
    }
}

/// `ACL_USER` and `ACL_GROUP`, the tags of entries that name an id.
const ACL_USER: u16 = 0x02;
const ACL_GROUP: u16 = 0x08;
/// Bytes of `posix_acl_xattr_header`, and of each `posix_acl_xattr_entry` (tag and permissions of 16 bits, id of 32).
const ACL_HEADER: usize = 4;
const ACL_ENTRY: usize = 8;

fn is_access_list(name: &CStr) -> bool {
    name == c"system.posix_acl_access" || name == c"system.posix_acl_default"
}

/// Replaces every id of a list, which is little endian everywhere.
fn each_id(list: &mut [u8], replace: impl Fn(u16, u32) -> Result<u32, Errno>) -> Result<(), Errno> {
    let Some(entries) = list.get_mut(ACL_HEADER..) else {
        return Ok(());
    };
    for entry in entries.chunks_exact_mut(ACL_ENTRY) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        if tag == ACL_USER || tag == ACL_GROUP {
            let id = u32::from_le_bytes([entry[4], entry[5], entry[6], entry[7]]);
            entry[4..].copy_from_slice(&replace(tag, id)?.to_le_bytes());
        }
    }
    Ok(())
}
