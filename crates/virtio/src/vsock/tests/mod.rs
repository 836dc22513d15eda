//! Dialogues between a fake guest, the multiplexer and programs of the host. No thread and no waiting: the test plays
//! the worker.

mod ending;
mod flow;
mod hostile;
mod opening;

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

use super::connection::Ports;
use super::muxer::Muxer;
use super::packet::{HEADER_LEN, Header, Op, TYPE_STREAM};
use super::{HOST_CID, VsockSpec};
use crate::memory::Span;
use crate::queue::Ring;
use crate::testing::{Buffer, Driver, FakeGuest};

const GUEST_CID: u64 = 42;
/// Receive buffer that the fake guest grants every connection.
const GUEST_BUFFER: u32 = 64 * 1024;
/// Buffers that the fake guest offers for packets, header included; what Linux offers is a little smaller.
const RX_BUFFER: u32 = 4096;

/// A guest, its device's connections, and the host around them.
struct Scene {
    guest: FakeGuest,
    driver: Driver,
    ring: Ring,
    muxer: Muxer,
    page: u64,
    rx_page: u64,
    /// Whether a buffer for a packet is offered and not yet used.
    offered: bool,
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let spec = VsockSpec {
            guest_cid: GUEST_CID,
            socket: dir.path().join("vsock.sock"),
        };
        let mut guest = FakeGuest::new();
        let driver = guest.driver(0, 16);
        let (page, rx_page) = (guest.allocate(1 << 20), guest.allocate(RX_BUFFER.into()));
        let ring = driver.ring();
        let muxer = Muxer::bind(&spec).unwrap();
        Self {
            guest,
            driver,
            ring,
            muxer,
            page,
            rx_page,
            offered: false,
            dir,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("vsock.sock")
    }

    /// A program of the host that listens for the guest.
    fn listener(&self, port: u32) -> UnixListener {
        UnixListener::bind(self.dir.path().join(format!("vsock.sock_{port}"))).unwrap()
    }

    /// A program of the host that says `line` to the device.
    fn client(&self, line: &str) -> UnixStream {
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.write_all(line.as_bytes()).unwrap();
        stream
    }

    /// A packet as an honest guest would send it.
    fn header(&self, op: Op, ports: Ports) -> Header {
        Header {
            src_cid: GUEST_CID.into(),
            dst_cid: HOST_CID.into(),
            src_port: ports.guest.into(),
            dst_port: ports.host.into(),
            len: 0.into(),
            kind: TYPE_STREAM.into(),
            op: (op as u16).into(),
            flags: 0.into(),
            buf_alloc: GUEST_BUFFER.into(),
            fwd_cnt: 0.into(),
        }
    }

    /// The guest sends a packet without payload.
    fn say(&mut self, op: Op, ports: Ports) {
        self.send(self.header(op, ports), &[]);
    }

    /// The guest sends payload.
    fn say_data(&mut self, ports: Ports, payload: &[u8]) {
        self.send(
            Header {
                len: (payload.len() as u32).into(),
                ..self.header(Op::Data, ports)
            },
            payload,
        );
    }

    /// The guest says how much it has forwarded.
    fn say_forwarded(&mut self, ports: Ports, fwd_cnt: u32) {
        self.send(
            Header {
                fwd_cnt: fwd_cnt.into(),
                ..self.header(Op::CreditUpdate, ports)
            },
            &[],
        );
    }

    /// The guest ends directions.
    fn say_shutdown(&mut self, ports: Ports, flags: u32) {
        self.send(
            Header {
                flags: flags.into(),
                ..self.header(Op::Shutdown, ports)
            },
            &[],
        );
    }

    /// The guest sends a packet, header and payload in one buffer.
    fn send(&mut self, header: Header, payload: &[u8]) {
        self.guest.write(self.page, header.as_bytes());
        self.guest.write(self.page + HEADER_LEN as u64, payload);
        self.send_spans(&[Span {
            addr: self.page,
            len: (HEADER_LEN + payload.len()) as u32,
        }]);
    }

    /// The guest sends what is in the buffers `spans`.
    fn send_spans(&mut self, spans: &[Span]) {
        assert!(self.muxer.takes_packets());
        self.muxer.packet_from_guest(&self.guest.memory(), spans);
    }

    /// The device looks at its sockets.
    fn pump(&mut self) {
        let mut events = Vec::with_capacity(64);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        while epoll::wait(self.muxer.epoll(), spare_capacity(&mut events), Some(&now)).unwrap() > 0
        {
            for event in events.drain(..) {
                self.muxer.handle_event(event.data.u64(), event.flags);
            }
        }
    }

    /// The guest offers a buffer, unless one is waiting, and looks what comes.
    fn receive(&mut self) -> Option<(Header, Vec<u8>)> {
        self.pump();
        if !self.offered {
            self.driver
                .offer(&[Buffer::writable(self.rx_page, RX_BUFFER)]);
            self.offered = true;
        }
        self.muxer.fill(&mut self.ring, 8).unwrap();
        let (_, len) = self.driver.used()?;
        self.offered = false;
        let packet = self.guest.read(self.rx_page, len as usize);
        let (header, payload) = Header::read_from_prefix(&packet).unwrap();
        assert_eq!(header.dst_cid.get(), GUEST_CID);
        assert_eq!(header.len.get() as usize, payload.len());
        Some((header, payload.to_vec()))
    }

    /// The next packet is a control packet of this kind.
    fn expect(&mut self, op: Op) -> Header {
        let (header, payload) = self
            .receive()
            .unwrap_or_else(|| panic!("no packet where {op:?} should come"));
        assert_eq!(Op::from_number(header.op.get()), Some(op));
        assert!(payload.is_empty());
        header
    }

    /// The next packet is payload.
    fn expect_data(&mut self) -> Vec<u8> {
        let (header, payload) = self.receive().expect("payload");
        assert_eq!(Op::from_number(header.op.get()), Some(Op::Data));
        payload
    }

    fn expect_nothing(&mut self) {
        assert_eq!(self.receive(), None);
    }

    /// A connection that the guest opened to a listener on `port`.
    fn opened_by_guest(&mut self, port: u32) -> (UnixStream, Ports) {
        let listener = self.listener(port);
        let ports = Ports {
            host: port,
            guest: 50_000,
        };
        self.say(Op::Request, ports);
        self.expect(Op::Response);
        (listener.accept().unwrap().0, ports)
    }

    /// A connection that a client of the host opened to the guest's `port`, past both lines.
    fn opened_by_host(&mut self, port: u32) -> (UnixStream, Ports) {
        let mut client = self.client(&format!("CONNECT {port}\n"));
        let request = self.expect(Op::Request);
        let ports = Ports {
            host: request.src_port.get(),
            guest: port,
        };
        self.say(Op::Response, ports);
        assert_eq!(read_line(&mut client), format!("OK {}\n", ports.host));
        (client, ports)
    }
}

fn read_line(stream: &mut UnixStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a whole line");
        line.extend(byte);
    }
    String::from_utf8(line).unwrap()
}

/// All that is in the socket until its end.
fn read_all(mut stream: &UnixStream) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

/// Whether the other end is still open and has sent nothing.
fn is_quiet(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let quiet =
        matches!((&*stream).read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock);
    stream.set_nonblocking(false).unwrap();
    quiet
}
