//! Tells the guest what others change in the directories that it shares.
//!
//! One message is on its way at a time: what happens until the agent has taken it over is told together, so neither side
//! holds more than a bounded number of changes.

use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use cenote_fuse::passthrough::{Change, Changes, News};
use cenote_protocol::{
    Changed, ChangedDirectory, EXEC_PORT, FrameError, FrameReader, HandshakeError, Refreshed, Side,
    handshake, write_message,
};
use cenote_virtio::vsock::{self, ConnectError};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// How long events gather after some were read and told: most are of what the guest itself changes, which is not told and
/// would wake this thread each time. `docs/shares.md` has the figures.
const BREATH: Duration = Duration::from_millis(1);

/// Why the guest is not told any more. It then believes what it knows for a second, as without being told.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("cannot learn of changes: {0}")]
    System(#[from] Errno),
}

/// Tells `changes` to the agent behind the vsock socket `guest`, in a thread, as long as that is there.
pub(crate) fn tell(changes: Arc<Changes>, guest: PathBuf) {
    thread::spawn(move || {
        // The end of the machine is the usual one.
        if let Err(error) = try_tell(&changes, &guest) {
            tracing::debug!(%error, "the guest is not told of changes any more");
        }
    });
}

fn try_tell(changes: &Arc<Changes>, guest: &Path) -> Result<(), Error> {
    let mut stream = vsock::connect(guest, EXEC_PORT)?;
    handshake(&mut stream, Side::Host)?;
    write_message(&mut stream, &Changed::Entries(Vec::new()))?;
    let mut frames = FrameReader::new(stream.try_clone().map_err(FrameError::from)?);
    frames.next_message::<Refreshed>()?;
    pass_on(changes, stream, frames)
}

fn pass_on(
    changes: &Arc<Changes>,
    mut stream: UnixStream,
    mut frames: FrameReader<UnixStream>,
) -> Result<(), Error> {
    let mut listener = changes.listen();
    let mut on_its_way = false;
    loop {
        let mut ready = [
            PollFd::new(&listener, PollFlags::IN),
            PollFd::new(&stream, PollFlags::IN),
        ];
        match poll(&mut ready, None) {
            Err(Errno::INTR) => continue,
            polled => polled?,
        };
        let [happened, answered] = ready.map(|ready| !ready.revents().is_empty());
        if answered {
            listener.told(&frames.next_message::<Refreshed>()?.missed);
            on_its_way = false;
        }
        if happened {
            listener.collect()?;
        }
        if !on_its_way && let Some(news) = listener.news() {
            write_message(&mut stream, &message(news))?;
            on_its_way = true;
        }
        if happened {
            thread::sleep(BREATH);
        }
    }
}

fn message(news: News) -> Changed {
    match news {
        News::Changes(changes) => Changed::Entries(changes.into_iter().map(directory).collect()),
        News::Lost => Changed::Anything,
    }
}

fn directory(change: Change) -> ChangedDirectory {
    let names = change.names.into_iter().map(|name| name.into_bytes());
    ChangedDirectory {
        mount: change.share,
        path: change.directory,
        inode: change.inode,
        itself: change.itself,
        names: names.collect(),
    }
}
