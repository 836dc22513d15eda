//! Packets of the guest: checked, then done.
//!
//! What is refused, and how (virtio 1.2 sections 5.10.6.2 to 5.10.6.6): a packet that cannot be understood or belongs to
//! no connection is answered with a reset, except a reset itself; one that breaks the rules of its connection ends it.

use zerocopy::FromZeros;
use zerocopy::IntoBytes;

use super::HOST_CID;
use super::connection::{Fault, PAYLOAD, Phase, Ports};
use super::muxer::{Id, Muxer};
use super::packet::{Header, Op, TYPE_STREAM};
use crate::memory::{Memory, Span, total_len};

impl Muxer {
    /// Handles one packet of the guest, in the buffers `spans`. Requires [`takes_packets`](Self::takes_packets).
    pub fn packet_from_guest(&mut self, memory: &Memory, spans: &[Span]) {
        let mut header = Header::new_zeroed();
        if let Err(error) = memory.copy_out(spans, 0, header.as_mut_bytes()) {
            tracing::debug!(%error, "vsock: a packet without a header is dropped");
            return;
        }
        if header.src_cid.get() != self.guest_cid {
            tracing::debug!(
                cid = header.src_cid.get(),
                "vsock: a packet with a sender that is not the guest is dropped"
            );
            return;
        }
        let ports = Ports {
            host: header.dst_port.get(),
            guest: header.src_port.get(),
        };
        let op = Op::from_number(header.op.get());
        if header.dst_cid.get() != HOST_CID || header.kind.get() != TYPE_STREAM {
            return self.refuse(&header, op, ports);
        }
        match (op, self.by_ports.get(&ports).copied()) {
            (Some(Op::Request), None) => self.open(&header, ports),
            (Some(op), Some(id)) => self.for_connection(id, op, &header, memory, spans),
            (None, Some(id)) => self.unknown_operation(id, header.op.get()),
            (op, None) => self.refuse(&header, op, ports),
        }
    }

    fn refuse(&mut self, header: &Header, op: Option<Op>, ports: Ports) {
        if op != Some(Op::Reset) {
            self.owe_reset(header.dst_cid.get(), header.kind.get(), ports);
        }
    }

    /// The guest wants to connect to a host port.
    fn open(&mut self, header: &Header, ports: Ports) {
        let opened = match self.connect(ports.host) {
            Ok(stream) => self.insert(Phase::Open, stream, ports),
            Err(error) => {
                tracing::debug!(port = ports.host, %error, "vsock: no listener for the guest's connection");
                None
            }
        };
        let Some((id, connection)) =
            opened.and_then(|id| Some((id, self.connections.get_mut(&id)?)))
        else {
            return self.refuse(header, Some(Op::Request), ports);
        };
        // Nothing was sent yet, so that there is nothing to lie about.
        let _ = connection.hear(header.buf_alloc.get(), header.fwd_cnt.get());
        connection.owe_response();
        self.by_ports.insert(ports, id);
        self.wake(id);
    }

    fn for_connection(&mut self, id: Id, op: Op, header: &Header, memory: &Memory, spans: &[Span]) {
        if op == Op::Reset {
            self.tell_refusal(id);
            return self.release(id);
        }
        if let Err(fault) = self.apply(id, op, header, memory, spans) {
            return self.fail(id, &fault);
        }
        self.wake(id);
    }

    fn apply(
        &mut self,
        id: Id,
        op: Op,
        header: &Header,
        memory: &Memory,
        spans: &[Span],
    ) -> Result<(), Fault> {
        let Some(connection) = self.connections.get_mut(&id) else {
            return Ok(());
        };
        connection.hear(header.buf_alloc.get(), header.fwd_cnt.get())?;
        match (op, connection.phase) {
            (Op::Response, Phase::Requested) => self.accepted(id),
            (Op::Data, Phase::Open | Phase::Closing) => {
                let (len, have) = (header.len.get(), total_len(spans) - PAYLOAD);
                if u64::from(len) > have {
                    return Err(Fault::Length { len, have });
                }
                connection.data_from_guest(memory, spans, len)?;
            }
            (Op::Shutdown, Phase::Open | Phase::Closing) => {
                if connection.shutdown_from_guest(header.flags.get()) {
                    let ports = connection.ports;
                    self.owe_reset(HOST_CID, TYPE_STREAM, ports);
                    self.release(id);
                } else {
                    connection.flush();
                }
            }
            (Op::CreditRequest, Phase::Open) => connection.owe_update(),
            (Op::CreditUpdate | Op::CreditRequest, Phase::Open | Phase::Closing) => {}
            (op, phase) => {
                return Err(Fault::Unexpected {
                    op: op as u16,
                    phase,
                });
            }
        }
        Ok(())
    }

    /// The guest accepted a host client's connection.
    fn accepted(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.phase = Phase::Open;
        let line = format!("OK {}\n", connection.ports.host);
        if !connection.host.say(&line) {
            connection.host.note_events(true, true, true, true);
        }
    }

    fn unknown_operation(&mut self, id: Id, op: u16) {
        if let Some(phase) = self.connections.get(&id).map(|connection| connection.phase) {
            self.fail(id, &Fault::Unexpected { op, phase });
        }
    }

    /// The guest broke the rules of a connection: it is reset.
    fn fail(&mut self, id: Id, fault: &Fault) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let ports = connection.ports;
        tracing::debug!(?ports, %fault, "vsock: a connection is reset");
        self.owe_reset(HOST_CID, TYPE_STREAM, ports);
        self.tell_refusal(id);
        self.release(id);
    }

    /// Tells a host client that waits for the guest's answer that there will be no connection.
    fn tell_refusal(&self, id: Id) {
        if let Some(connection) = self.connections.get(&id)
            && connection.phase == Phase::Requested
        {
            connection.host.say("ERR refused by the guest\n");
        }
    }
}
