//! UNLINK, RMDIR, RENAME and RENAME2.

use rustix::fs::{AtFlags, RenameFlags};
use rustix::io::Errno;

use super::places::Descriptor;
use super::{Caller, Passthrough, find, identity};
use crate::host_time;
use crate::wire::{Name, Rename2In};

impl Passthrough {
    pub(crate) fn unlink(&self, parent: u64, name: Name<'_>) -> Result<(), Errno> {
        let directory = self.place(parent)?.1;
        host_time::call(|| rustix::fs::unlinkat(&*directory, name.as_c_str(), AtFlags::empty()))
    }

    pub(crate) fn rmdir(&self, parent: u64, name: Name<'_>) -> Result<(), Errno> {
        let directory = self.place(parent)?.1;
        host_time::call(|| rustix::fs::unlinkat(&*directory, name.as_c_str(), AtFlags::REMOVEDIR))
    }

    pub(crate) fn rename(
        &self,
        caller: &mut Caller<'_>,
        arguments: &Rename2In,
        old: Name<'_>,
        new: Name<'_>,
    ) -> Result<(), Errno> {
        let parent = caller.header.node;
        let from = self.parent(parent)?;
        let to = self.parent(arguments.newdir)?;
        let flags = RenameFlags::from_bits(arguments.flags).ok_or(Errno::INVAL)?;
        if flags.contains(RenameFlags::WHITEOUT) {
            self.act(caller, 0)?;
        }
        let (old_name, new_name) = (old.as_c_str(), new.as_c_str());
        host_time::call(|| {
            rustix::fs::renameat_with(&*from.file, old_name, &*to.file, new_name, flags)
        })?;
        if !to.is_watched() {
            from.left();
        }
        if !self.nodes.places.by_handle() {
            self.moved(arguments.newdir, &to.file, new);
            if flags.contains(RenameFlags::EXCHANGE) {
                self.moved(parent, &from.file, old);
            }
        }
        Ok(())
    }

    /// Remembers a file's new name, by which it may have to be found again.
    fn moved(&self, parent: u64, directory: &Descriptor, name: Name<'_>) {
        let status = find(directory, name).and_then(identity::status);
        if let Ok(status) = status
            && let Some(node) = self.nodes.known(&status)
        {
            self.nodes.see(&node, parent, name);
        }
    }
}
