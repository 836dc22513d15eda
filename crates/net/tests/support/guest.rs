//! A guest that is a userspace TCP/IP stack on the stream that QEMU would get.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use cenote_net::GuestSettings;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant as Clock;
use smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

/// Nothing here takes a second; a machine under load may take many.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long the stack waits for a frame before it looks again.
const TICK: Duration = Duration::from_millis(50);
const ETHERNET_HEADER: usize = 14;

/// The guest: its stack and its sockets.
pub struct Guest {
    link: Link,
    interface: Interface,
    sockets: SocketSet<'static>,
    next_port: u16,
}

impl Guest {
    /// A guest that obeys `settings` on `end`.
    pub fn new(end: OwnedFd, settings: &GuestSettings) -> Self {
        let stream = UnixStream::from(end);
        stream.set_nonblocking(true).unwrap();
        let mtu = usize::from(settings.mtu) + ETHERNET_HEADER;
        let mut link = Link {
            stream,
            received: Vec::new(),
            mtu,
        };
        let config = Config::new(EthernetAddress(settings.mac).into());
        let mut interface = Interface::new(config, &mut link, Clock::now());
        interface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::new(
                    IpAddress::Ipv4(settings.address),
                    settings.prefix,
                ))
                .unwrap();
        });
        interface
            .routes_mut()
            .add_default_ipv4_route(settings.gateway)
            .unwrap();
        Self {
            link,
            interface,
            sockets: SocketSet::new(Vec::new()),
            next_port: 40_000,
        }
    }

    /// Starts to connect; the answer has not been waited for.
    pub fn connect(&mut self, to: SocketAddrV4) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 256 * 1024]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        self.next_port += 1;
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket
            .connect(
                self.interface.context(),
                (*to.ip(), to.port()),
                self.next_port,
            )
            .unwrap();
        handle
    }

    /// Listens for one connection.
    pub fn listen(&mut self, port: u16) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64 * 1024]);
        let handle = self.sockets.add(tcp::Socket::new(buffer(), buffer()));
        self.sockets
            .get_mut::<tcp::Socket>(handle)
            .listen(port)
            .unwrap();
        handle
    }

    /// A UDP socket on `port`.
    pub fn udp(&mut self, port: u16) -> SocketHandle {
        let buffer =
            || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 16], vec![0; 64 * 1024]);
        let handle = self.sockets.add(udp::Socket::new(buffer(), buffer()));
        self.sockets
            .get_mut::<udp::Socket>(handle)
            .bind(port)
            .unwrap();
        handle
    }

    /// Queues a datagram.
    pub fn send_to(&mut self, handle: SocketHandle, data: &[u8], to: SocketAddrV4) {
        self.sockets
            .get_mut::<udp::Socket>(handle)
            .send_slice(data, (*to.ip(), to.port()))
            .unwrap();
    }

    /// The next datagram and who sent it.
    pub fn receive_from(&mut self, handle: SocketHandle) -> (Vec<u8>, SocketAddrV4) {
        self.until("a datagram", |sockets| {
            let (data, meta) = sockets.get_mut::<udp::Socket>(handle).recv().ok()?;
            let IpAddress::Ipv4(address) = meta.endpoint.addr;
            Some((
                data.to_vec(),
                SocketAddrV4::new(address, meta.endpoint.port),
            ))
        })
    }

    /// The address of the other side.
    pub fn remote(&self, handle: SocketHandle) -> Ipv4Addr {
        let IpAddress::Ipv4(remote) = self
            .sockets
            .get::<tcp::Socket>(handle)
            .remote_endpoint()
            .unwrap()
            .addr;
        remote
    }

    /// All that the other side sends until it closes.
    pub fn receive_all(&mut self, handle: SocketHandle) -> Vec<u8> {
        let mut received = Vec::new();
        self.until("the other side to close", |sockets| {
            drain(sockets.get_mut(handle), &mut received)
        });
        received
    }

    /// Sends `data` and returns as many bytes of what comes back.
    pub fn echo(&mut self, handle: SocketHandle, data: &[u8]) -> Vec<u8> {
        let (mut rest, mut received) = (data, Vec::new());
        self.until("all data to come back", |sockets| {
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            if socket.may_send() {
                rest = &rest[socket.send_slice(rest).unwrap()..];
            }
            drain(socket, &mut received);
            (received.len() >= data.len()).then_some(())
        });
        received
    }

    /// Sends `data` and closes when the other side has it.
    pub fn answer(&mut self, handle: SocketHandle, mut data: &[u8]) {
        self.until("the other side to take all", |sockets| {
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            data = &data[socket.send_slice(data).unwrap()..];
            (data.is_empty() && socket.send_queue() == 0).then(|| socket.close())
        });
    }

    fn flush(&mut self) {
        self.interface
            .poll(Clock::now(), &mut self.link, &mut self.sockets);
    }

    /// Lets the stack work until `step` has an answer.
    ///
    /// What happens outside of the stack is seen within [`TICK`].
    pub fn until<T>(&mut self, what: &str, mut step: impl FnMut(&mut SocketSet) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.flush();
            if let Some(answer) = step(&mut self.sockets) {
                self.flush();
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "the guest waited in vain for {what}"
            );
            let wake = self
                .interface
                .poll_delay(Clock::now(), &self.sockets)
                .map_or(PATIENCE, Duration::from);
            let wake = wake.min(TICK);
            let wake = Timespec {
                tv_sec: wake.as_secs().cast_signed(),
                tv_nsec: wake.subsec_nanos().into(),
            };
            if self.link.received.len() <= 4 {
                poll(
                    &mut [PollFd::new(&self.link.stream, PollFlags::IN)],
                    Some(&wake),
                )
                .unwrap();
            }
        }
    }
}

/// Takes what `socket` has received; an answer when there will be no more.
fn drain(socket: &mut tcp::Socket, received: &mut Vec<u8>) -> Option<()> {
    loop {
        match socket.recv(|bytes| (bytes.len(), bytes.to_vec())) {
            Ok(bytes) if bytes.is_empty() => return None,
            Ok(bytes) => received.extend(bytes),
            Err(tcp::RecvError::Finished) => return Some(()),
            // Not connected yet.
            Err(tcp::RecvError::InvalidState) => return None,
        }
    }
}

/// Frames with a length in front, on a stream.
struct Link {
    stream: UnixStream,
    received: Vec<u8>,
    mtu: usize,
}

impl Link {
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(length) = self.received.first_chunk::<4>() {
                let end = 4 + u32::from_be_bytes(*length) as usize;
                if self.received.len() >= end {
                    return Some(self.received.drain(..end).skip(4).collect());
                }
            }
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the network closed the guest's stream"),
                Ok(count) => self.received.extend(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("the guest's stream: {error}"),
            }
        }
    }

    fn send(&mut self, frame: &[u8]) {
        let framed = [
            &u32::try_from(frame.len()).unwrap().to_be_bytes()[..],
            frame,
        ]
        .concat();
        let mut rest = &framed[..];
        while !rest.is_empty() {
            match self.stream.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    poll(&mut [PollFd::new(&self.stream, PollFlags::OUT)], None).unwrap();
                }
                Err(error) => panic!("the guest's stream: {error}"),
            }
        }
    }
}

impl Device for Link {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Clock) -> Option<(Received, Sending<'_>)> {
        let frame = self.next_frame()?;
        Some((Received(frame), Sending(self)))
    }

    fn transmit(&mut self, _: Clock) -> Option<Sending<'_>> {
        Some(Sending(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

struct Received(Vec<u8>);

impl phy::RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

struct Sending<'a>(&'a mut Link);

impl phy::TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.send(&frame);
        result
    }
}
