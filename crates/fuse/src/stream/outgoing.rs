//! Sends whole messages along a stream, from any thread.

use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

/// The sending end of a stream.
#[derive(Debug)]
pub struct Outgoing {
    stream: Arc<OwnedFd>,
    /// Whoever has it sends.
    turn: Mutex<()>,
}

impl Outgoing {
    pub fn new(stream: Arc<OwnedFd>) -> Outgoing {
        Outgoing {
            stream,
            turn: Mutex::new(()),
        }
    }

    /// Sends a message of two parts. Where that fails, the stream is over, because a part may have been sent.
    pub fn send(&self, head: &[u8], body: &[u8]) -> Result<(), Errno> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut parts = [IoSlice::new(head), IoSlice::new(body)];
        let mut left = &mut parts[..];
        // Leaves out parts that are empty.
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            let mut none = SendAncillaryBuffer::default();
            match sendmsg(&*self.stream, left, &mut none, SendFlags::NOSIGNAL) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(Errno::INTR) => {}
                Err(error) => {
                    super::end(&self.stream);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
