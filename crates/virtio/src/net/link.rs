//! The stream behind the card, and whether it is still there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::net::Shutdown;
use thiserror::Error;
use zerocopy::IntoBytes;

use super::config::Config;
use super::{MAX_FRAME, NetState};
use crate::device::Interrupt;

/// Why the link went down.
#[derive(Debug, Error)]
pub enum End {
    /// The other side has closed the stream.
    #[error("its other end was closed")]
    Closed,
    /// What stands where a length should be is none.
    #[error("a frame of {0} bytes was announced; 1 to {MAX_FRAME} are possible")]
    Length(u32),
    /// The socket does not work.
    #[error("{0}")]
    Socket(io::Error),
}

impl From<io::Error> for End {
    /// A Unix socket whose peer closed it with data unread is reset.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Socket(error),
        }
    }
}

/// The stream, until it ends.
pub struct Link {
    stream: OwnedFd,
    card: NetState,
    up: Arc<AtomicBool>,
    driver: Option<Arc<dyn Interrupt>>,
}

impl Link {
    /// The link of `card` over `stream`, which is up.
    pub fn new(stream: OwnedFd, card: NetState) -> Self {
        Self {
            stream,
            card,
            up: Arc::new(AtomicBool::new(true)),
            driver: None,
        }
    }

    /// Whether frames can pass, for others to look at.
    pub fn status(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.up)
    }

    /// Whether frames can pass.
    pub fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// The socket.
    pub fn stream(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// Tells `driver`, if there is one that wants to know, when the link goes down.
    pub fn tell(&mut self, driver: Option<Arc<dyn Interrupt>>) {
        self.driver = driver;
    }

    /// Ends the link.
    pub fn end(&mut self, end: End) {
        if !self.up.swap(false, Ordering::AcqRel) {
            return;
        }
        tracing::warn!("the guest's network link is down: {end}");
        // The other side learns of it too, if it is still there.
        let _ = rustix::net::shutdown(&self.stream, Shutdown::Both);
        if let Some(driver) = &self.driver
            && let Err(error) = driver.config_changed(Config::new(self.card, false).as_bytes())
        {
            tracing::warn!(%error, "cannot tell the guest that its network link is down");
        }
    }
}
