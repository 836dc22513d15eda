//! Extended attributes: which are kept, and their bytes behind an inode.
//!
//! EROFS names a fixed set of prefixes by number and holds nothing else; neither does Linux accept anything else.

use std::borrow::Cow;
use std::collections::BTreeMap;

use zerocopy::{FromBytes, IntoBytes};

use crate::layout::{XATTR_HEADER_SIZE, XattrEntry};
use crate::tree::{Inode, Kind, Presence};
use crate::write_error::{WriteError, show};

/// Linux's `XATTR_NAME_MAX`, with the prefix.
const MAX_NAME: usize = 255;
/// An entry's value size has 16 bits.
const MAX_VALUE: usize = u16::MAX as usize;
/// The inode counts its attributes' bytes in units of 4, in 16 bits, the header being the first unit. Room for the
/// marks, the longest of which holds a path, is kept.
const MAX_BODY: usize = XATTR_HEADER_SIZE + (u16::MAX as usize - 1) * 4 - 8192;

/// Prefix numbers (`EROFS_XATTR_INDEX_*`). The two ACLs have no rest of a name.
const PREFIXES: [(u8, &[u8]); 5] = [
    (1, b"user."),
    (2, b"system.posix_acl_access"),
    (3, b"system.posix_acl_default"),
    (4, b"trusted."),
    (6, b"security."),
];

/// Marks of our own on a layer's inodes. Names of this space never come from input and never leave a merge.
pub(crate) const OPAQUE: &[u8] = b"trusted.overlay.opaque";
pub(crate) const PRESENCE: &[u8] = b"trusted.overlay.presence";
pub(crate) const IMPLIED: &[u8] = b"implied";
pub(crate) const PASSAGE: &[u8] = b"passage";
pub(crate) const LINK: &[u8] = b"trusted.overlay.link";

pub(crate) type Xattrs = Vec<(Vec<u8>, Vec<u8>)>;

/// Whether overlayfs would take this attribute as an order.
pub(crate) fn is_overlay_reserved(name: &[u8]) -> bool {
    [&b"trusted.overlay."[..], b"user.overlay."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

fn prefix_of(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|&(index, prefix)| {
        let rest = name.strip_prefix(prefix)?;
        (rest.is_empty() != prefix.ends_with(b".")).then_some((index, rest))
    })
}

/// What is kept of an entry's attributes, and how many were dropped because they are reserved by overlayfs or in no
/// name space that EROFS knows.
pub(crate) fn accept(path: &[u8], xattrs: Xattrs) -> Result<(Xattrs, u64), WriteError> {
    let mut kept = BTreeMap::new();
    let mut dropped = 0;
    for (name, value) in xattrs {
        let refuse = |reason| WriteError::Xattr {
            path: show(path),
            name: show(&name),
            reason,
        };
        if name.len() > MAX_NAME {
            return Err(refuse("the name has more than 255 bytes"));
        }
        if name.contains(&0) {
            return Err(refuse("the name has a NUL byte in it"));
        }
        if value.len() > MAX_VALUE {
            return Err(refuse("the value has more than 65535 bytes"));
        }
        if is_overlay_reserved(&name) || prefix_of(&name).is_none() {
            dropped += 1;
        } else {
            kept.insert(name, value);
        }
    }
    let kept: Xattrs = kept.into_iter().collect();
    if body_size(&kept) > MAX_BODY {
        let reason = "all attributes together exceed 248 KiB";
        return Err(WriteError::Xattr {
            path: show(path),
            name: "*".to_owned(),
            reason,
        });
    }
    Ok((kept, dropped))
}

/// What an inode has on disk: its attributes and, in a layer, its marks.
pub(crate) fn disk_xattrs(inode: &Inode) -> Cow<'_, Xattrs> {
    let mut xattrs = Cow::Borrowed(&inode.meta.xattrs);
    match &inode.kind {
        Kind::Directory(directory) => {
            if directory.opaque {
                xattrs.to_mut().push((OPAQUE.to_vec(), b"y".to_vec()));
            }
            let presence = match directory.presence {
                Presence::Passage => PASSAGE,
                Presence::Implied => IMPLIED,
                Presence::Explicit => return xattrs,
            };
            xattrs.to_mut().push((PRESENCE.to_vec(), presence.to_vec()));
        }
        Kind::DeferredLink(target) => xattrs.to_mut().push((LINK.to_vec(), target.to_vec())),
        _ => {}
    }
    xattrs
}

fn entry_size(name: &[u8], value: &[u8]) -> usize {
    let rest = prefix_of(name).map_or(0, |(_, rest)| rest.len());
    (size_of::<XattrEntry>() + rest + value.len()).next_multiple_of(4)
}

/// Bytes behind the inode; a multiple of 4, zero without attributes.
pub(crate) fn body_size(xattrs: &Xattrs) -> usize {
    match xattrs.len() {
        0 => 0,
        _ => {
            XATTR_HEADER_SIZE
                + xattrs
                    .iter()
                    .map(|(name, value)| entry_size(name, value))
                    .sum::<usize>()
        }
    }
}

/// The inode's `i_xattr_icount` for a body of this size.
pub(crate) fn count_field(body_size: usize) -> u16 {
    match body_size {
        0 => 0,
        _ => u16::try_from((body_size - XATTR_HEADER_SIZE) / 4 + 1)
            .expect("accept() bounds the body"),
    }
}

/// Appends the body: a header without shared attributes and the entries.
pub(crate) fn encode(xattrs: &Xattrs, out: &mut Vec<u8>) {
    if xattrs.is_empty() {
        return;
    }
    out.extend_from_slice(&[0; XATTR_HEADER_SIZE]);
    for (name, value) in xattrs {
        let end = out.len() + entry_size(name, value);
        let (prefix, rest) = prefix_of(name).expect("accept() drops other names");
        let name_len = u8::try_from(rest.len()).expect("accept() bounds names");
        let value_size = u16::try_from(value.len())
            .expect("accept() bounds values")
            .into();
        out.extend_from_slice(
            XattrEntry {
                name_len,
                prefix,
                value_size,
            }
            .as_bytes(),
        );
        out.extend_from_slice(rest);
        out.extend_from_slice(value);
        out.resize(end, 0);
    }
}

/// The attributes in a body. Errors name what is wrong with it.
pub(crate) fn decode(body: &[u8]) -> Result<Xattrs, &'static str> {
    let (header, mut rest) = body
        .split_at_checked(XATTR_HEADER_SIZE)
        .ok_or("is shorter than its header")?;
    if header[4] != 0 {
        return Err("refers to shared attributes");
    }
    let mut xattrs = BTreeMap::new();
    while !rest.is_empty() {
        let (entry, after) =
            XattrEntry::read_from_prefix(rest).map_err(|_| "ends inside an entry")?;
        let name_len = usize::from(entry.name_len);
        let value_len = usize::from(entry.value_size.get());
        let used = (name_len + value_len).next_multiple_of(4);
        if used > after.len() {
            return Err("ends inside an entry");
        }
        let prefix = PREFIXES
            .iter()
            .find(|(index, _)| *index == entry.prefix)
            .ok_or("has an unknown prefix")?
            .1;
        let name = [prefix, &after[..name_len]].concat();
        if prefix_of(&name).is_none() || name.len() > MAX_NAME || name.contains(&0) {
            return Err("has an invalid name");
        }
        if xattrs
            .insert(name, after[name_len..name_len + value_len].to_vec())
            .is_some()
        {
            return Err("has a name twice");
        }
        rest = &after[used..];
    }
    Ok(xattrs.into_iter().collect())
}
