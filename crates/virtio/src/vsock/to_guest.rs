//! Packets for the guest: connections take turns, one packet each, as long as it offers buffers.

use zerocopy::IntoBytes;

use super::HOST_CID;
use super::connection::Produced;
use super::muxer::Muxer;
use super::packet::{HEADER_LEN, Header, Op, TYPE_STREAM};
use crate::memory::{Memory, MemoryError, Span};
use crate::queue::{Ring, RingError};

/// What ended a round of filling buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Nothing is left to send.
    Idle,
    /// The guest offers no buffer; its doorbell will ring.
    Starved,
    /// The round's share of work is done; there may be more.
    Quota,
}

impl Muxer {
    /// Fills buffers of the guest, at most `quota` of them.
    pub fn fill(&mut self, ring: &mut Ring, quota: usize) -> Result<Filled, RingError> {
        let memory = ring.memory().clone();
        for _ in 0..quota {
            if self.resets.is_empty() && self.ready.is_empty() {
                return Ok(Filled::Idle);
            }
            let chain = match ring.pop()? {
                Some(Ok(chain)) => chain,
                Some(Err(error)) => {
                    tracing::debug!(%error, "vsock: an unusable buffer is given back");
                    continue;
                }
                None if ring.arm()? => continue,
                None => return Ok(Filled::Starved),
            };
            match self.next_packet(&memory, chain.writable()) {
                Ok(Some(written)) => ring.push(chain, written)?,
                Ok(None) => ring.unpop(chain),
                Err(error) => {
                    tracing::debug!(%error, "vsock: an unusable buffer is given back");
                    ring.push(chain, 0)?;
                }
            }
        }
        Ok(Filled::Quota)
    }

    /// Writes the next packet into `spans`; returns its length, or `None` if no connection has one after all.
    fn next_packet(&mut self, memory: &Memory, spans: &[Span]) -> Result<Option<u32>, MemoryError> {
        // Known to be writable from here on, so that no packet is lost on the way.
        memory.copy_in(spans, 0, &[0; HEADER_LEN])?;
        if let Some(reset) = self.resets.pop_front() {
            let header = Header {
                src_cid: reset.cid.into(),
                dst_cid: self.guest_cid.into(),
                src_port: reset.ports.host.into(),
                dst_port: reset.ports.guest.into(),
                len: 0.into(),
                kind: reset.kind.into(),
                op: (Op::Reset as u16).into(),
                flags: 0.into(),
                buf_alloc: 0.into(),
                fwd_cnt: 0.into(),
            };
            memory.copy_in(spans, 0, header.as_bytes())?;
            return Ok(Some(HEADER_LEN as u32));
        }
        while let Some(id) = self.ready.front().copied() {
            let Some(connection) = self.connections.get_mut(&id) else {
                self.ready.pop_front();
                continue;
            };
            // An unusable buffer leaves the connection its turn.
            let produced = connection.produce(memory, spans)?;
            connection.queued = false;
            self.ready.pop_front();
            let (op, flags, len) = match produced {
                Produced::Nothing => continue,
                Produced::Control(op, flags) => (op, flags, 0),
                Produced::Data(len) => (Op::Data, 0, len),
            };
            let (buf_alloc, fwd_cnt) = connection.credit.announce();
            let header = Header {
                src_cid: HOST_CID.into(),
                dst_cid: self.guest_cid.into(),
                src_port: connection.ports.host.into(),
                dst_port: connection.ports.guest.into(),
                len: len.into(),
                kind: TYPE_STREAM.into(),
                op: (op as u16).into(),
                flags: flags.into(),
                buf_alloc: buf_alloc.into(),
                fwd_cnt: fwd_cnt.into(),
            };
            memory.copy_in(spans, 0, header.as_bytes())?;
            self.wake(id);
            return Ok(Some(HEADER_LEN as u32 + len));
        }
        Ok(None)
    }
}
