//! The relay between a virtual machine and passt: frames in both directions, the guest's only by the rules.
//!
//! Both sides speak QEMU's stream format: a frame's length in four bytes, big-endian, then the frame. A frame is read
//! whole before it is judged, and only permitted ones are written on, so passt never sees the framing of the other
//! side. Two threads, one per direction, block on their sockets; when either side closes, both end.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use thiserror::Error;

use crate::egress::Rules;

/// Bytes of the length before each frame.
pub(crate) const LENGTH: usize = 4;
/// The longest frame: an Ethernet header and a packet of [`crate::settings::MTU`] fit. QEMU passes on up to 69,632
/// bytes, passt takes no more than this.
pub(crate) const MAX_FRAME: usize = 65_535;
/// What one read may bring, in bytes: the default size of a socket's buffer, and more than one frame of any length.
const BUFFER: usize = 256 * 1024;
const _: () = assert!(BUFFER > LENGTH + MAX_FRAME);

/// The two threads and the sockets that they read.
#[derive(Debug)]
pub(crate) struct Relay {
    sockets: Arc<[UnixStream; 2]>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Error)]
enum RelayError {
    #[error("a frame of {0} bytes was announced; at most {MAX_FRAME} are possible")]
    TooLong(usize),
    #[error("{0}")]
    Socket(#[from] io::Error),
}

impl Relay {
    /// Starts to carry frames between `machine` and `passt`.
    pub(crate) fn start(machine: UnixStream, passt: UnixStream, rules: Rules) -> io::Result<Self> {
        let sockets = Arc::new([machine, passt]);
        let mut relay = Self {
            sockets: Arc::clone(&sockets),
            threads: Vec::new(),
        };
        let (ends, rules) = (Arc::clone(&sockets), Arc::new(rules));
        let outbound = Arc::clone(&rules);
        relay.spawn("net-out", move || {
            carry(&ends[0], &ends[1], |frame| outbound.permit(frame))
        })?;
        relay.spawn("net-in", move || {
            carry(&sockets[1], &sockets[0], |frame| {
                rules.observe(frame);
                true
            })
        })?;
        Ok(relay)
    }

    fn spawn(
        &mut self,
        name: &str,
        carry: impl FnOnce() -> Result<(), RelayError> + Send + 'static,
    ) -> io::Result<()> {
        let sockets = Arc::clone(&self.sockets);
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            if let Err(error) = carry() {
                tracing::warn!("the sandbox's network ended: {error}");
            }
            close(&sockets);
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Closes both sides and waits for the threads.
    fn stop(&mut self) {
        close(&self.sockets);
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed; its sockets are closed all the same.
            let _ = thread.join();
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Wakes both threads. A socket whose peer is gone says that it is not connected, which is as good.
fn close(sockets: &[UnixStream; 2]) {
    for socket in sockets {
        let _ = socket.shutdown(Shutdown::Both);
    }
}

/// Carries those frames that `permit` accepts, until one side closes.
fn carry(
    mut from: &UnixStream,
    mut to: &UnixStream,
    permit: impl Fn(&[u8]) -> bool,
) -> Result<(), RelayError> {
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    loop {
        let count = ended(from.read(&mut buffer[filled..]))?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let used = permitted(&buffer[..filled], &permit, |frames| to.write_all(frames))?;
        buffer.copy_within(used..filled, 0);
        filled -= used;
    }
}

/// A reset is how a Unix socket ends whose peer closed with data unread.
fn ended(read: io::Result<usize>) -> io::Result<usize> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(0),
        read => read,
    }
}

/// Hands the permitted ones of the whole frames in `stream` to `write`, neighbours together, lengths included, and
/// returns how many bytes the whole frames take.
fn permitted(
    stream: &[u8],
    permit: impl Fn(&[u8]) -> bool,
    mut write: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<usize, RelayError> {
    let (mut run, mut at) = (0, 0);
    while let Some(frame) = next_frame(&stream[at..])? {
        let end = at + LENGTH + frame.len();
        if !permit(frame) {
            if run < at {
                write(&stream[run..at])?;
            }
            run = end;
        }
        at = end;
    }
    if run < at {
        write(&stream[run..at])?;
    }
    Ok(at)
}

/// The frame at the start of `stream`, without its length; none if it is not there whole.
fn next_frame(stream: &[u8]) -> Result<Option<&[u8]>, RelayError> {
    let Some((length, rest)) = stream.split_first_chunk::<LENGTH>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MAX_FRAME {
        return Err(RelayError::TooLong(length));
    }
    Ok(rest.get(..length))
}

#[cfg(test)]
#[path = "relay_test.rs"]
mod tests;
