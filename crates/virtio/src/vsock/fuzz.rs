//! A guest and a host whose every step a fuzzer chooses. A step is a byte, of which the low five bits count, so that
//! seeds can be written as text: the letters in [`Play::step`].

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use tempfile::TempDir;
use zerocopy::{FromBytes, IntoBytes};

use super::connection::{PAYLOAD, Ports};
use super::muxer::{MAX_CONNECTIONS, Muxer};
use super::packet::{HEADER_LEN, Header, TYPE_STREAM};
use super::{HOST_CID, VsockSpec};
use crate::memory::Span;
use crate::queue::Ring;
use crate::testing::{Buffer, Choices, Driver, FakeGuest};

const GUEST_CID: u64 = 3;
/// Where host ports of clients begin; the guest guesses among the first few.
const CLIENT_PORTS: u32 = 1 << 30;

/// Plays `data` and checks after every step that what the device remembers is consistent and bounded.
///
/// # Panics
///
/// If it is not: that is a defect of the device.
pub fn packets(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut play = Play::new();
    while let Some(step) = bytes.next() {
        play.step(step, &mut bytes);
        play.check();
    }
}

struct Play {
    guest: FakeGuest,
    driver: Driver,
    ring: Ring,
    muxer: Muxer,
    page: u64,
    rx_page: u64,
    listener: UnixListener,
    streams: VecDeque<UnixStream>,
    dir: TempDir,
}

impl Play {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        let spec = VsockSpec {
            guest_cid: GUEST_CID,
            socket: dir.path().join("s"),
        };
        let mut guest = FakeGuest::new();
        let driver = guest.driver(0, 16);
        let (page, rx_page) = (guest.allocate(1 << 18), guest.allocate(1 << 17));
        let listener = UnixListener::bind(dir.path().join("s_5")).expect("a listener");
        listener.set_nonblocking(true).expect("a listener");
        let (ring, muxer) = (driver.ring(), Muxer::bind(&spec).expect("a device"));
        Self {
            guest,
            driver,
            ring,
            muxer,
            page,
            rx_page,
            listener,
            streams: VecDeque::new(),
            dir,
        }
    }

    fn step(&mut self, step: u8, bytes: &mut Choices<'_>) {
        match step & 0x1f {
            0x01 => self.accept(),                  // a
            0x03 => self.connect(bytes.u8()),       // c
            0x04 => drop(self.streams.pop_front()), // d
            0x05 => self.end_input(),               // e
            0x06 => self.fill(bytes.u16()),         // f
            0x07 => self.muxer.forget_guest(),      // g
            0x10 => self.pump(),                    // p
            0x12 => self.read(bytes.u16()),         // r
            0x17 => self.write(bytes.u16()),        // w
            0x18 => self.raw_packet(bytes),         // x
            _ => self.packet(bytes),                // anything else, such as m
        }
    }

    fn accept(&mut self) {
        if let Ok((stream, _)) = self.listener.accept() {
            self.streams.push_back(stream);
        }
    }

    fn connect(&mut self, port: u8) {
        let mut stream =
            UnixStream::connect(self.dir.path().join("s")).expect("the device's socket");
        stream
            .write_all(format!("CONNECT {}\n", port & 3).as_bytes())
            .expect("room in a new socket");
        self.streams.push_back(stream);
    }

    fn with_next_stream(&mut self, action: impl FnOnce(&mut UnixStream)) {
        if let Some(mut stream) = self.streams.pop_front() {
            stream.set_nonblocking(true).expect("a socket");
            action(&mut stream);
            self.streams.push_back(stream);
        }
    }

    // The host's program does what it does: that its socket is full, empty or closed is part of the play.

    fn end_input(&mut self) {
        self.with_next_stream(|stream| drop(stream.shutdown(Shutdown::Write)));
    }

    fn read(&mut self, len: u16) {
        self.with_next_stream(|stream| drop(stream.read(&mut vec![0; len.into()])));
    }

    fn write(&mut self, len: u16) {
        self.with_next_stream(|stream| drop(stream.write(&vec![7; len.into()])));
    }

    fn pump(&mut self) {
        let mut events = Vec::with_capacity(64);
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        if let Ok(1..) = epoll::wait(self.muxer.epoll(), spare_capacity(&mut events), Some(&now)) {
            for event in events {
                self.muxer.handle_event(event.data.u64(), event.flags);
            }
        }
    }

    /// The guest offers a buffer of any size, which the device may fill.
    fn fill(&mut self, len: u16) {
        self.driver
            .offer(&[Buffer::writable(self.rx_page, len.into())]);
        self.muxer.fill(&mut self.ring, 4).expect("an honest ring");
        while let Some((_, written)) = self.driver.used() {
            assert!(written <= u32::from(u16::MAX));
        }
        // The ring holds 16: those that are not used yet are taken back by beginning anew.
        let position = self.ring.position();
        if self.driver.offered().wrapping_sub(position.next_avail) > 8 {
            self.driver.set_available(position.next_avail);
        }
    }

    /// A packet that names one of a few connections, and is mostly honest.
    fn packet(&mut self, bytes: &mut Choices<'_>) {
        let (op, ports, lie) = (bytes.u8(), bytes.u8(), bytes.u8());
        let len = if op & 0xf == 5 {
            u32::from(bytes.u16())
        } else {
            0
        };
        let host = [5, 6, CLIENT_PORTS, CLIENT_PORTS + 1][usize::from(ports & 3)];
        let header = Header {
            src_cid: GUEST_CID.into(),
            dst_cid: HOST_CID.into(),
            src_port: u32::from(ports >> 2 & 3).into(),
            dst_port: host.into(),
            len: (len + u32::from(lie == 1)).into(),
            kind: TYPE_STREAM.into(),
            op: u16::from(op & 0xf).into(),
            flags: u32::from(op >> 4).into(),
            buf_alloc: (u32::from(bytes.u8()) << 8).into(),
            fwd_cnt: if lie == 2 { bytes.u32() } else { 0 }.into(),
        };
        self.send(header, len);
    }

    fn raw_packet(&mut self, bytes: &mut Choices<'_>) {
        let header: [u8; HEADER_LEN] = std::array::from_fn(|_| bytes.u8());
        let len = u32::from(bytes.u16());
        self.send(Header::read_from_bytes(&header).expect("44 bytes"), len);
    }

    fn send(&mut self, header: Header, len: u32) {
        if !self.muxer.takes_packets() {
            return;
        }
        self.guest.write(self.page, header.as_bytes());
        let spans = [
            Span {
                addr: self.page,
                len: PAYLOAD as u32,
            },
            Span {
                addr: self.page + PAYLOAD,
                len,
            },
        ];
        self.muxer.packet_from_guest(&self.guest.memory(), &spans);
    }

    fn check(&self) {
        assert!(self.muxer.connections.len() <= MAX_CONNECTIONS);
        assert!(
            self.muxer.ready.len()
                <= self.muxer.connections.len() + self.muxer.by_ports.len() + 256
        );
        for (ports, id) in &self.muxer.by_ports {
            assert_eq!(
                self.muxer.connections.get(id).map(|c| c.ports),
                Some(*ports)
            );
            assert_ne!(*ports, Ports { host: 0, guest: 0 });
        }
        for connection in self.muxer.connections.values() {
            assert!(connection.credit.held() <= connection.credit.buf_alloc());
            assert!(connection.host.backlog_len() <= connection.credit.held() as usize);
        }
    }
}
