//! Whom files belong to: the client's users and groups, and the host's.

use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::{FileType, Statx};
use rustix::io::Errno;

use super::{identity, kept};

/// How ids of the client and ids of the host correspond.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ids {
    /// They are the same, and the server acts as whoever asks (`idmap=none`): needs capabilities.
    Same,
    /// The server acts as the user that it is, and ids are mapped.
    Mapped {
        /// Users.
        users: IdMap,
        /// Groups.
        groups: IdMap,
    },
    /// All files are one user's: of the host, whom the server acts as, and of the client. Giving one to somebody else changes nothing, without an error, as programs do not expect root to fail.
    Owner(Owner),
}

/// Whose files all files are, as users and groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    host: (u32, u32),
    client: OnceLock<(u32, u32)>,
    keeps: bool,
}

impl Owner {
    /// The host's `user` and `group`; the client's are root's until they are [known](Owner::becomes).
    pub fn of(user: u32, group: u32) -> Owner {
        Owner {
            host: (user, group),
            client: OnceLock::new(),
            keeps: false,
        }
    }

    /// Has files and directories that the client gives to others keep whom they belong to, in an extended attribute
    /// that the client does not see. For directories that nobody else uses.
    #[must_use]
    pub fn keeping(mut self) -> Owner {
        self.keeps = true;
        self
    }

    /// Names the client's `user` and `group`, before the client asks for anything. The first call counts.
    pub fn becomes(&self, user: u32, group: u32) {
        // Told again, nothing changes: files that the client has seen keep their owner.
        let _ = self.client.set((user, group));
    }

    fn client(&self) -> (u32, u32) {
        self.client.get().copied().unwrap_or_default()
    }
}

impl Ids {
    /// A single user of the host is a single user of the client.
    pub fn one(host: (u32, u32), client: (u32, u32)) -> Ids {
        let one = |host, client| {
            IdMap(vec![Range {
                host,
                client,
                count: 1,
            }])
        };
        Ids::Mapped {
            users: one(host.0, client.0),
            groups: one(host.1, client.1),
        }
    }

    /// Whether the server has to act as another user than it is.
    pub(super) fn switches(&self) -> bool {
        let me = || {
            (
                rustix::process::geteuid().as_raw(),
                rustix::process::getegid().as_raw(),
            )
        };
        match self {
            Ids::Same => true,
            Ids::Mapped { .. } => false,
            Ids::Owner(owner) => owner.host != me(),
        }
    }

    /// Whom the server acts as when the client's `user` and `group` ask, if it can be another.
    pub(super) fn acts_as(&self, user: u32, group: u32) -> (u32, u32) {
        match self {
            Ids::Owner(owner) => owner.host,
            Ids::Same | Ids::Mapped { .. } => (user, group),
        }
    }

    /// Whether files may keep owners that they do not have on the host.
    pub fn keeps(&self) -> bool {
        matches!(self, Ids::Owner(owner) if owner.keeps)
    }

    /// The client's names for the user and group of `file`.
    pub fn client_owner(&self, file: impl AsFd, status: &Statx) -> (u32, u32) {
        let kept = self.keeps().then(|| keeper(file, status)).flatten();
        kept.unwrap_or_else(|| {
            (
                self.client_user(status.stx_uid),
                self.client_group(status.stx_gid),
            )
        })
    }

    /// The client gives `file` to a user, a group, or both. Where files are all one user's, it keeps that, or nothing
    /// happens.
    pub fn give(
        &self,
        file: impl AsFd,
        status: &Statx,
        user: Option<u32>,
        group: Option<u32>,
    ) -> Result<(), Errno> {
        let Ids::Owner(owner) = self else {
            return Ok(());
        };
        if !owner.keeps || !can_keep(status) {
            return Ok(());
        }
        let now = self.client_owner(&file, status);
        let wanted = (user.unwrap_or(now.0), group.unwrap_or(now.1));
        if wanted == owner.client() {
            kept::remove(file)
        } else {
            kept::write(file, wanted)
        }
    }

    /// The client's name for a user of the host.
    pub fn client_user(&self, host: u32) -> u32 {
        match self {
            Ids::Same => host,
            Ids::Mapped { users, .. } => users.to_client(host).unwrap_or(OVERFLOW),
            Ids::Owner(owner) => one(host, owner.host.0, owner.client().0).unwrap_or(OVERFLOW),
        }
    }

    /// The client's name for a group of the host.
    pub fn client_group(&self, host: u32) -> u32 {
        match self {
            Ids::Same => host,
            Ids::Mapped { groups, .. } => groups.to_client(host).unwrap_or(OVERFLOW),
            Ids::Owner(owner) => one(host, owner.host.1, owner.client().1).unwrap_or(OVERFLOW),
        }
    }

    /// The host's name for a user of the client; EPERM if it has none.
    pub fn host_user(&self, client: u32) -> Result<u32, Errno> {
        match self {
            Ids::Same => Ok(client),
            Ids::Mapped { users, .. } => users.to_host(client).ok_or(Errno::PERM),
            Ids::Owner(owner) => one(client, owner.client().0, owner.host.0).ok_or(Errno::PERM),
        }
    }

    /// The host's name for a group of the client; EPERM if it has none.
    pub fn host_group(&self, client: u32) -> Result<u32, Errno> {
        match self {
            Ids::Same => Ok(client),
            Ids::Mapped { groups, .. } => groups.to_host(client).ok_or(Errno::PERM),
            Ids::Owner(owner) => one(client, owner.client().1, owner.host.1).ok_or(Errno::PERM),
        }
    }
}

/// Links and special files have no attributes of users.
fn can_keep(status: &Statx) -> bool {
    matches!(
        identity::kind(status),
        FileType::RegularFile | FileType::Directory
    )
}

fn keeper(file: impl AsFd, status: &Statx) -> Option<(u32, u32)> {
    can_keep(status).then(|| kept::read(file)).flatten()
}

fn one(id: u32, from: u32, to: u32) -> Option<u32> {
    (id == from).then_some(to)
}

/// Ids that the client has no name for appear as the kernel's overflow id.
const OVERFLOW: u32 = 65_534;

/// Ranges of ids that correspond.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IdMap(pub Vec<Range>);

/// `count` ids from `host` on are the client's ids from `client` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "said above")]
pub struct Range {
    pub host: u32,
    pub client: u32,
    pub count: u32,
}

impl IdMap {
    fn to_client(&self, host: u32) -> Option<u32> {
        self.0
            .iter()
            .find_map(|range| shift(host, range.host, range.client, range.count))
    }

    fn to_host(&self, client: u32) -> Option<u32> {
        self.0
            .iter()
            .find_map(|range| shift(client, range.client, range.host, range.count))
    }
}

fn shift(id: u32, from: u32, to: u32, count: u32) -> Option<u32> {
    let place = id.checked_sub(from).filter(|place| *place < count)?;
    to.checked_add(place)
}

#[cfg(test)]
#[path = "ids_test.rs"]
mod tests;
