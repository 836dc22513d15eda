//! Flow control of one connection (virtio 1.2 section 5.10.6.3): arithmetic only.
//!
//! Each side tells the other with every packet how large its receive buffer is (`buf_alloc`) and how many bytes have
//! left it so far (`fwd_cnt`); the other may have sent at most `buf_alloc` bytes more than that. All counters are
//! modulo 2^32.

use std::num::Wrapping;

use thiserror::Error;

/// The peer broke the rules of flow control; its connection is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// More payload than the receive buffer has room for.
    #[error("more payload than there was credit for")]
    Overrun,
    /// Claims to have forwarded bytes that were never sent.
    #[error("claims to have forwarded more than it was sent")]
    Forwarded,
}

/// Both directions of one connection's credit.
#[derive(Clone, Debug)]
pub struct Credit {
    /// Size of our receive buffer; fixed for the life of the connection.
    buf_alloc: u32,
    /// Bytes received from the peer.
    received: Wrapping<u32>,
    /// Bytes that have left our receive buffer.
    forwarded: Wrapping<u32>,
    /// The value of `forwarded` that the peer was told last.
    announced: Wrapping<u32>,
    /// Size of the peer's receive buffer.
    peer_buf_alloc: u32,
    /// Bytes that have left the peer's receive buffer.
    peer_forwarded: Wrapping<u32>,
    /// Bytes sent to the peer.
    sent: Wrapping<u32>,
}

impl Credit {
    /// A connection with a receive buffer of `buf_alloc` bytes, before the peer has told anything.
    pub fn new(buf_alloc: u32) -> Self {
        let zero = Wrapping(0);
        Self {
            buf_alloc,
            received: zero,
            forwarded: zero,
            announced: zero,
            peer_buf_alloc: 0,
            peer_forwarded: zero,
            sent: zero,
        }
    }

    /// Size of our receive buffer in bytes.
    pub fn buf_alloc(&self) -> u32 {
        self.buf_alloc
    }

    /// Takes in what a packet of the peer says about its buffer.
    ///
    /// A count that lies behind the newest one is not held against the peer: a driver that stamps packets on several
    /// processors may queue them in another order. One that runs ahead of what was sent is a lie.
    pub fn hear(&mut self, buf_alloc: u32, fwd_cnt: u32) -> Result<(), Violation> {
        let progress = Wrapping(fwd_cnt) - self.peer_forwarded;
        if progress.0 > i32::MAX as u32 {
            return Ok(());
        }
        if progress > self.sent - self.peer_forwarded {
            return Err(Violation::Forwarded);
        }
        self.peer_forwarded += progress;
        self.peer_buf_alloc = buf_alloc;
        Ok(())
    }

    /// Bytes that may be sent to the peer now.
    pub fn window(&self) -> u32 {
        self.peer_buf_alloc
            .saturating_sub((self.sent - self.peer_forwarded).0)
    }

    /// `len` bytes were sent to the peer; at most [`window`](Self::window).
    pub fn count_sent(&mut self, len: u32) {
        self.sent += len;
    }

    /// `len` bytes of payload come in from the peer.
    pub fn receive(&mut self, len: u32) -> Result<(), Violation> {
        if len > self.buf_alloc - self.held() {
            return Err(Violation::Overrun);
        }
        self.received += len;
        Ok(())
    }

    /// `len` of the bytes received have left the buffer.
    pub fn forward(&mut self, len: u32) {
        debug_assert!(len <= self.held());
        self.forwarded += len;
    }

    /// Bytes received and not yet forwarded; never more than `buf_alloc`.
    pub fn held(&self) -> u32 {
        (self.received - self.forwarded).0
    }

    /// What to write into the next packet to the peer: (`buf_alloc`, `fwd_cnt`).
    pub fn announce(&mut self) -> (u32, u32) {
        self.announced = self.forwarded;
        (self.buf_alloc, self.forwarded.0)
    }

    /// Whether the peer believes that less than half of our buffer is free although more is: time for an update.
    pub fn update_due(&self) -> bool {
        self.announced != self.forwarded && (self.received - self.announced).0 > self.buf_alloc / 2
    }
}

#[cfg(test)]
mod tests;
