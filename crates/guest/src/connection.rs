//! A stream socket to the host, as the frame code wants it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// One end of a stream: vsock in a machine, a Unix socket in a test. Clones share it.
#[derive(Debug, Clone)]
pub struct Connection(Arc<OwnedFd>);

impl Connection {
    /// Takes over a connected stream socket.
    pub fn new(socket: OwnedFd) -> Self {
        Connection(Arc::new(socket))
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Read for Connection {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&*self.0, into)?)
    }
}

impl Write for Connection {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(
            &*self.0,
            from,
            rustix::net::SendFlags::NOSIGNAL,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
