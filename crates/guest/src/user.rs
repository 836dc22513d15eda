//! Who a process runs as: `USER[:GROUP]` of the request, looked up in the container's own /etc/passwd and /etc/group
//! (passwd(5), group(5)).

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::container::mount_point;

/// How much of /etc/passwd or /etc/group is read. Real ones have some hundred lines; the image could bring any.
const MAX_FILE: u64 = 4 << 20;

/// How many supplementary groups a process may have (`NGROUPS_MAX`).
const MAX_GROUPS: usize = 65536;

/// The numbers of a process, and its home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The home directory; `/` for a user without an entry.
    pub home: String,
}

/// Why a user could not be found.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Neither a name in /etc/passwd nor a number.
    #[error("unable to find user {0}: no matching entry in the container's /etc/passwd")]
    NoUser(String),
    /// Neither a name in /etc/group nor a number.
    #[error("unable to find group {0}: no matching entry in the container's /etc/group")]
    NoGroup(String),
}

struct PasswdEntry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct GroupEntry<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// Looks `user` up in the /etc/passwd and /etc/group below `root`.
///
/// # Errors
/// See [`UserError`].
pub fn resolve(user: &str, root: &Path) -> Result<Identity, UserError> {
    let text = |path| read(root, Path::new(path));
    resolve_in(user, &text("/etc/passwd"), &text("/etc/group"))
}

/// As podman: a name must have an entry, a number need not; an explicit group replaces the user's groups.
fn resolve_in(user: &str, passwd: &str, group: &str) -> Result<Identity, UserError> {
    let (user, group_name) = match user.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = passwd_entries(passwd)
        .find(|entry| entry.name == user)
        .or_else(|| passwd_entries(passwd).find(|entry| Some(entry.uid) == number));
    let mut identity = match (&entry, number) {
        (Some(entry), _) => Identity {
            uid: entry.uid,
            gid: entry.gid,
            groups: Vec::new(),
            home: entry.home.to_owned(),
        },
        (None, Some(uid)) => Identity {
            uid,
            gid: 0,
            groups: Vec::new(),
            home: String::new(),
        },
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    if !identity.home.starts_with('/') {
        identity.home = "/".into();
    }
    match (group_name, entry) {
        (Some(name), _) => identity.gid = find_group(name, group)?,
        (None, Some(entry)) => identity.groups = groups_of(entry.name, group),
        (None, None) => {}
    }
    Ok(identity)
}

fn find_group(name: &str, group: &str) -> Result<u32, UserError> {
    group_entries(group)
        .find(|entry| entry.name == name)
        .map(|entry| entry.gid)
        .or_else(|| name.parse().ok())
        .ok_or_else(|| UserError::NoGroup(name.to_owned()))
}

fn groups_of(name: &str, group: &str) -> Vec<u32> {
    group_entries(group)
        .filter(|entry| entry.members.split(',').any(|member| member == name))
        .map(|entry| entry.gid)
        .take(MAX_GROUPS)
        .collect()
}

fn passwd_entries(text: &str) -> impl Iterator<Item = PasswdEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(PasswdEntry {
            name,
            uid,
            gid,
            home: fields.nth(1).unwrap_or_default(),
        })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = GroupEntry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some(GroupEntry {
            name,
            gid,
            members: fields.next().unwrap_or_default(),
        })
    })
}

/// A file of the image as text; empty if there is none, or if it is something else than a file (opening a FIFO must
/// not wait for a writer). Links lead nowhere but within `root`.
fn read(root: &Path, path: &Path) -> String {
    let mut bytes = Vec::new();
    let Ok(path) = mount_point::resolve(root, path) else {
        return String::new();
    };
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path);
    if let Ok(file) = file
        && file
            .metadata()
            .is_ok_and(|metadata| metadata.mode() & libc::S_IFMT == libc::S_IFREG)
    {
        // A file that breaks off is read as far as it goes: the entry is in it or not.
        let _ = file.take(MAX_FILE).read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
#[path = "user_test.rs"]
mod tests;
