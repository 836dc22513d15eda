//! A fake guest's vsock driver, for tests in which the device runs: it waits for interrupts as a guest does.

use zerocopy::{FromBytes, IntoBytes};

use super::HOST_CID;
use super::connection::Ports;
use super::packet::{HEADER_LEN, Header, Op, TYPE_STREAM};
use crate::testing::{Buffer, Driver, FakeGuest};

/// Entries of each ring.
pub const RING_SIZE: u16 = 64;
/// Size of a buffer for packets, as Linux has it.
const BUFFER: u64 = 4096;
/// Receive buffer that every connection is granted.
pub const CREDIT: u32 = 256 * 1024;

/// The operation that carries payload, for tests outside of the device's folder.
pub const DATA: Op = Op::Data;

/// The driver, and the memory that it uses.
pub struct FakeDriver {
    pub guest: FakeGuest,
    pub rx: Driver,
    pub tx: Driver,
    pub event: Driver,
    guest_cid: u64,
    rx_pages: u64,
    next_rx: u64,
    tx_page: u64,
    /// Bytes of payload received, of all connections.
    pub received: u32,
}

impl FakeDriver {
    /// A driver that has offered all its buffers for packets and none for events.
    pub fn new(guest_cid: u64) -> Self {
        let mut guest = FakeGuest::new();
        let (mut rx, tx) = (guest.driver(0, RING_SIZE), guest.driver(1, RING_SIZE));
        let event = guest.driver(2, 8);
        let rx_pages = guest.allocate(BUFFER * u64::from(RING_SIZE));
        let tx_page = guest.allocate(1 << 20);
        for i in 0..u64::from(RING_SIZE) {
            rx.offer(&[Buffer::writable(rx_pages + i * BUFFER, BUFFER as u32)]);
        }
        Self {
            guest,
            rx,
            tx,
            event,
            guest_cid,
            rx_pages,
            next_rx: 0,
            tx_page,
            received: 0,
        }
    }

    /// Sends a packet and waits until the device has taken it. The credit told is right for a single connection.
    pub fn send(&mut self, op: Op, ports: Ports, flags: u32, payload: &[u8]) {
        let header = Header {
            src_cid: self.guest_cid.into(),
            dst_cid: HOST_CID.into(),
            src_port: ports.guest.into(),
            dst_port: ports.host.into(),
            len: (payload.len() as u32).into(),
            kind: TYPE_STREAM.into(),
            op: (op as u16).into(),
            flags: flags.into(),
            buf_alloc: CREDIT.into(),
            fwd_cnt: self.received.into(),
        };
        self.guest.write(self.tx_page, header.as_bytes());
        self.guest.write(self.tx_page + HEADER_LEN as u64, payload);
        let (start, len) = (self.tx_page, HEADER_LEN as u32);
        let head = self.tx.offer(&[
            Buffer::readable(start, len),
            Buffer::readable(start + u64::from(len), payload.len() as u32),
        ]);
        self.tx.notify();
        assert_eq!(self.tx.wait_used(), (head, 0));
    }

    /// Waits for a packet, and offers its buffer again.
    pub fn receive(&mut self) -> (Header, Vec<u8>) {
        let (_, len) = self.rx.wait_used();
        let page = self.rx_pages + (self.next_rx % u64::from(RING_SIZE)) * BUFFER;
        let packet = self.guest.read(page, len as usize);
        self.next_rx += 1;
        self.rx.offer(&[Buffer::writable(page, BUFFER as u32)]);
        self.rx.notify();
        let (header, payload) = Header::read_from_prefix(&packet).expect("a whole header");
        self.received = self.received.wrapping_add(payload.len() as u32);
        (header, payload.to_vec())
    }

    /// Waits for a packet of this kind.
    pub fn expect(&mut self, op: Op) -> (Header, Vec<u8>) {
        let (header, payload) = self.receive();
        assert_eq!(Op::from_number(header.op.get()), Some(op));
        (header, payload)
    }

    /// Accepts the connection that the host asks for.
    pub fn accept(&mut self) -> Ports {
        let (request, _) = self.expect(Op::Request);
        let ports = Ports {
            host: request.src_port.get(),
            guest: request.dst_port.get(),
        };
        self.received = 0;
        self.send(Op::Response, ports, 0, &[]);
        ports
    }
}
