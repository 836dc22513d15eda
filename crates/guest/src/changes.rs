//! The change connection: the host tells what others changed in shares, the agent has the kernel look at it anew.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::OnceLock;

use cenote_protocol::{Changed, FrameError, FrameReader, Refreshed, write_message};

use crate::connection::Connection;
use crate::{log, refresh};

/// The container's shares, by their places among the plan's mounts: each on a mount of the agent's own.
pub type Shares = OnceLock<Vec<Option<OwnedFd>>>;

/// Where the kernel takes an order to forget names and files that are not in use: `2` (`Documentation/admin-guide/sysctl/vm.rst`).
const FORGET: &str = "/proc/sys/vm/drop_caches";

/// Serves the connection whose first message is `changed`, to its end.
///
/// # Errors
/// When the host breaks the protocol, or the connection fails.
pub fn attend(
    mut reader: FrameReader<Connection>,
    mut changed: Changed,
    shares: &Shares,
) -> Result<(), FrameError> {
    loop {
        let missed = take_over(&changed, shares);
        write_message(&mut reader.get_ref().clone(), &Refreshed { missed })?;
        changed = match reader.next_frame()? {
            Some(frame) => frame.message()?,
            None => return Ok(()),
        };
    }
}

/// Which directories were not found.
fn take_over(changed: &Changed, shares: &Shares) -> Vec<u32> {
    let Changed::Entries(directories) = changed else {
        if let Err(error) = std::fs::write(FORGET, "2") {
            log::line(format_args!(
                "cannot forget what is known of shares: {error}"
            ));
        }
        return Vec::new();
    };
    let shares = shares.get().map(Vec::as_slice).unwrap_or_default();
    let found = |mount: u32| shares.get(mount as usize)?.as_ref();
    (0..)
        .zip(directories)
        .filter(|(_, directory)| {
            !found(directory.mount).is_some_and(|share| refresh::refresh(share.as_fd(), directory))
        })
        .map(|(index, _)| index)
        .collect()
}
