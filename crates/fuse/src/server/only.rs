//! A share of one file: the server has its directory, and the client sees nothing else of that.

use std::ffi::CStr;

use rustix::io::Errno;

use crate::wire::{Operation, ROOT};

/// Refuses what is about another entry of the directory, or would change the directory itself. The file can be changed,
/// but neither renamed nor removed: its name is all that holds it.
pub(super) fn check(only: &CStr, node: u64, operation: &Operation<'_>) -> Result<(), Errno> {
    match operation {
        Operation::Lookup(name) if name.as_c_str() != only => Err(Errno::NOENT),
        Operation::Symlink(..)
        | Operation::Mknod(..)
        | Operation::Mkdir(..)
        | Operation::Link(..)
        | Operation::Unlink(_)
        | Operation::Rmdir(_)
        | Operation::Rename(..)
        | Operation::Create(..)
        | Operation::Tmpfile(_) => Err(Errno::PERM),
        Operation::Setattr(_)
        | Operation::Setxattr(..)
        | Operation::Getxattr(..)
        | Operation::Listxattr(_)
        | Operation::Removexattr(_)
            if node == ROOT =>
        {
            Err(Errno::PERM)
        }
        _ => Ok(()),
    }
}
