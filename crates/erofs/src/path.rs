//! Paths of entries: relative, '/'-separated, and never leading out of the tree.

use crate::write_error::{WriteError, show};

/// Linux refuses longer names (`NAME_MAX`).
pub(crate) const MAX_NAME: usize = 255;
/// Linux cannot open longer paths (`PATH_MAX` less its NUL); this also bounds the depth of a tree.
pub(crate) const MAX_PATH: usize = 4095;

/// Why a name cannot stand in a directory, or `None` if it can.
pub(crate) fn name_fault(name: &[u8]) -> Option<&'static str> {
    match name {
        b"" => Some("has an empty name in it"),
        b"." | b".." => Some("has a '.' or '..' in it"),
        _ if name.len() > MAX_NAME => Some("has a name of more than 255 bytes"),
        _ if name.contains(&0) => Some("has a NUL byte in it"),
        _ if name.contains(&b'/') => Some("has a '/' in a name"),
        _ => None,
    }
}

/// Checks a whole path. The empty path is the root.
pub(crate) fn check(path: &[u8]) -> Result<(), WriteError> {
    let refuse = |reason| {
        Err(WriteError::Path {
            path: show(path),
            reason,
        })
    };
    if path.len() > MAX_PATH {
        return refuse("has more than 4095 bytes");
    }
    match names(path).find_map(name_fault) {
        Some(reason) => refuse(reason),
        None => Ok(()),
    }
}

/// The names of a path, none for the root.
pub(crate) fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
        .filter(move |_| !path.is_empty())
}

/// Splits into the parent's path and the last name; `None` for the root.
pub(crate) fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => Some((&path[..slash], &path[slash + 1..])),
        None => Some((b"", path)),
    }
}

#[cfg(test)]
mod tests;
