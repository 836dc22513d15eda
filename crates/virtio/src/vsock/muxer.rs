//! All connections of one guest: the table, its limits, the host's listening socket, and what epoll says about them.
//!
//! What packets do to connections is in [`from_guest`](super::from_guest) and [`to_guest`](super::to_guest).

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, eventfd};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

use super::connection::{Connection, Phase, Ports};
use super::greeting::Greeting;
use super::{VsockError, VsockSpec};

/// Connections of one guest at a time, in either direction. The issue asks for 100 parallel commands; builds and tests
/// inside go far beyond that, and each costs one descriptor of the monitor.
pub const MAX_CONNECTIONS: usize = 4096;
/// Receive buffer that a connection is granted while the guest has few: four packets of 64 KiB in flight.
const LARGE_BUFFER: u32 = 256 * 1024;
/// How many connections may have it: together 64 MiB.
const LARGE_BUFFERS: usize = 256;
/// Receive buffer of every further connection: all of them together hold 60 MiB.
const SMALL_BUFFER: u32 = 16 * 1024;
/// Resets owed to the guest for packets of no connection. When so many wait for the guest to offer buffers, no more of
/// its packets are taken.
const MAX_RESETS: usize = 256;
/// First port that is given to a host client; the ports below belong to listeners.
const FIRST_HOST_PORT: u32 = 1 << 30;
/// Longest path of a Unix socket, without the terminating zero (`sun_path` is 108 bytes).
const MAX_SOCKET_PATH: usize = 107;
/// Longest suffix for a guest-initiated connection: `_4294967295`.
const MAX_SUFFIX: usize = 11;

/// epoll's number for the listening socket; connections have smaller ones, the worker's own are larger.
const LISTENER: u64 = 1 << 62;

/// Names a connection. Never used twice, so that a late event finds nothing instead of a stranger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u64);

/// A reset for packets that belong to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Context id that the guest addressed.
    pub cid: u64,
    /// Socket type that the guest used.
    pub kind: u16,
    /// Ports that the guest used.
    pub ports: Ports,
}

/// The connections of one guest.
pub struct Muxer {
    pub(super) guest_cid: u64,
    path: PathBuf,
    listener: UnixListener,
    accepting: bool,
    epoll: OwnedFd,
    /// Given up for a moment when there are no more descriptors.
    spare: Option<OwnedFd>,
    pub(super) connections: HashMap<Id, Connection>,
    pub(super) by_ports: HashMap<Ports, Id>,
    next_id: u64,
    next_port: u32,
    large_buffers: usize,
    /// Connections with something for the guest, in the order of their turns.
    pub(super) ready: VecDeque<Id>,
    pub(super) resets: VecDeque<Reset>,
}

impl Muxer {
    /// Binds the host's socket; connections to it wait until the guest is there.
    pub fn bind(spec: &VsockSpec) -> Result<Self, VsockError> {
        let path = &spec.socket;
        if path.as_os_str().as_bytes().len() + MAX_SUFFIX > MAX_SOCKET_PATH {
            return Err(VsockError::PathTooLong {
                path: path.clone(),
                limit: MAX_SOCKET_PATH - MAX_SUFFIX,
            });
        }
        let listener = UnixListener::bind(path).map_err(|source| VsockError::Bind {
            path: path.clone(),
            source,
        })?;
        let muxer = Self::with_listener(spec, listener);
        if muxer.is_err() {
            // The error that matters is the one returned.
            let _ = fs::remove_file(path);
        }
        muxer.map_err(|source| VsockError::SetUp {
            path: path.clone(),
            source,
        })
    }

    fn with_listener(spec: &VsockSpec, listener: UnixListener) -> io::Result<Self> {
        fs::set_permissions(&spec.socket, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(
            &epoll,
            &listener,
            EventData::new_u64(LISTENER),
            EventFlags::IN,
        )?;
        Ok(Self {
            guest_cid: spec.guest_cid,
            path: spec.socket.clone(),
            listener,
            accepting: true,
            epoll,
            spare: Some(eventfd(0, EventfdFlags::CLOEXEC)?),
            connections: HashMap::new(),
            by_ports: HashMap::new(),
            next_id: 0,
            next_port: FIRST_HOST_PORT,
            large_buffers: 0,
            ready: VecDeque::new(),
            resets: VecDeque::new(),
        })
    }

    /// The epoll descriptor on which the worker waits; numbers above [`MAX_TOKEN`] are the worker's own.
    pub fn epoll(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// Whether another reset can be owed: if not, no packet of the guest may be handled.
    pub fn takes_packets(&self) -> bool {
        self.resets.len() < MAX_RESETS
    }

    /// Owes the guest a reset for `ports`.
    pub(super) fn owe_reset(&mut self, cid: u64, kind: u16, ports: Ports) {
        self.resets.push_back(Reset { cid, kind, ports });
    }

    /// Gives the connection a turn if it has something for the guest.
    pub(super) fn wake(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(&id)
            && !connection.queued
            && connection.wants_guest()
        {
            connection.queued = true;
            self.ready.push_back(id);
        }
    }

    /// What epoll says about `token`.
    pub fn handle_event(&mut self, token: u64, events: EventFlags) {
        if token == LISTENER {
            return self.accept();
        }
        let id = Id(token);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.host.note_events(
            events.contains(EventFlags::IN),
            events.contains(EventFlags::OUT),
            events.contains(EventFlags::RDHUP),
            events.intersects(EventFlags::HUP | EventFlags::ERR),
        );
        let gone = events.intersects(EventFlags::HUP | EventFlags::ERR);
        match connection.phase {
            Phase::Greeting => self.greet(id, gone),
            Phase::Requested if gone => self.give_up(id),
            Phase::Requested | Phase::Closing => {}
            Phase::Open => {
                connection.flush();
                self.wake(id);
            }
            Phase::Draining => {
                connection.flush();
                if !connection.host.has_backlog() {
                    self.close(id);
                }
            }
        }
    }

    fn accept(&mut self) {
        while self.connections.len() < MAX_CONNECTIONS {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    if let Some(id) =
                        self.insert(Phase::Greeting, stream, Ports { host: 0, guest: 0 })
                    {
                        self.greet(id, false);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "vsock: cannot take a connection; raise the limit on open files");
                    if !self.turn_away() {
                        break;
                    }
                }
            }
        }
        self.listen(false);
    }

    /// Out of descriptors: hangs up on the next client, with the descriptor that is kept for this, so that it does not
    /// wait for a turn that may never come. Returns whether that was possible.
    fn turn_away(&mut self) -> bool {
        drop(self.spare.take());
        let client = self.listener.accept();
        drop(client);
        self.spare = eventfd(0, EventfdFlags::CLOEXEC).ok();
        self.spare.is_some()
    }

    /// Whether new host clients are taken: not while a limit is reached, or epoll would report them without end.
    fn listen(&mut self, accepting: bool) {
        if self.accepting == accepting {
            return;
        }
        self.accepting = accepting;
        let flags = if accepting {
            EventFlags::IN
        } else {
            EventFlags::empty()
        };
        if let Err(error) = epoll::modify(
            &self.epoll,
            &self.listener,
            EventData::new_u64(LISTENER),
            flags,
        ) {
            tracing::warn!(%error, "vsock: cannot watch the listening socket");
        }
    }

    /// Reads the CONNECT line of a host client and asks the guest.
    fn greet(&mut self, id: Id, gone: bool) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        match connection.host.greeting() {
            Greeting::Incomplete if !gone => {}
            Greeting::Incomplete => self.close(id),
            Greeting::Invalid => {
                connection.host.say("ERR expected CONNECT <port>\n");
                self.close(id);
            }
            Greeting::Port(guest) => {
                let host = self.free_port(guest);
                let Some(connection) = self.connections.get_mut(&id) else {
                    return;
                };
                connection.ports = Ports { host, guest };
                connection.phase = Phase::Requested;
                connection.owe_request();
                self.by_ports.insert(Ports { host, guest }, id);
                self.wake(id);
            }
        }
    }

    /// A host port that no connection to guest port `guest` uses. There are far more ports than connections.
    fn free_port(&mut self, guest: u32) -> u32 {
        loop {
            let host = self.next_port;
            self.next_port = if host == u32::MAX - 1 {
                FIRST_HOST_PORT
            } else {
                host + 1
            };
            if !self.by_ports.contains_key(&Ports { host, guest }) {
                return host;
            }
        }
    }

    /// The host client left before the guest had answered.
    fn give_up(&mut self, id: Id) {
        if let Some(connection) = self.connections.get(&id) {
            // A full list of resets forgets this one: the guest's answer will then meet no connection and be reset.
            if self.takes_packets() {
                self.owe_reset(
                    super::HOST_CID,
                    super::packet::TYPE_STREAM,
                    connection.ports,
                );
            }
            self.close(id);
        }
    }

    /// Connects to the host socket of `port` for the guest, without waiting.
    pub(super) fn connect(&self, port: u32) -> io::Result<UnixStream> {
        let mut path = self.path.clone().into_os_string();
        path.push(format!("_{port}"));
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(UnixStream::from(socket))
    }

    /// Adds a connection, or closes its socket if there are too many or it cannot be watched.
    pub(super) fn insert(&mut self, phase: Phase, stream: UnixStream, ports: Ports) -> Option<Id> {
        if self.connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        let id = Id(self.next_id);
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        if let Err(error) = epoll::add(&self.epoll, &stream, EventData::new_u64(id.0), flags) {
            tracing::warn!(%error, "vsock: cannot watch a connection");
            return None;
        }
        self.next_id += 1;
        let buffer = if self.large_buffers < LARGE_BUFFERS {
            LARGE_BUFFER
        } else {
            SMALL_BUFFER
        };
        self.large_buffers += usize::from(buffer == LARGE_BUFFER);
        self.connections
            .insert(id, Connection::new(phase, stream, ports, buffer));
        Some(id)
    }

    /// The guest has forgotten the connection: what it sent still reaches the host, then it is closed.
    pub(super) fn release(&mut self, id: Id) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if self.by_ports.get(&connection.ports) == Some(&id) {
            self.by_ports.remove(&connection.ports);
        }
        if !connection.drain() {
            self.close(id);
        }
    }

    /// Forgets the connection and closes its socket, which also takes it out of epoll.
    pub(super) fn close(&mut self, id: Id) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if self.by_ports.get(&connection.ports) == Some(&id) {
            self.by_ports.remove(&connection.ports);
        }
        self.large_buffers -= usize::from(connection.credit.buf_alloc() == LARGE_BUFFER);
        drop(connection);
        self.listen(true);
    }

    /// The guest is gone or its driver starts anew.
    pub fn forget_guest(&mut self) {
        let known: Vec<Id> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.is_known_to_guest())
            .map(|(id, _)| *id)
            .collect();
        for id in known {
            self.release(id);
        }
        // What is left in the list of turns are clients that wait for the next driver.
        self.resets.clear();
    }
}

impl Drop for Muxer {
    fn drop(&mut self) {
        remove_socket(&self.path);
    }
}

fn remove_socket(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(path = %path.display(), %error, "vsock: cannot remove the socket");
        }
        _ => {}
    }
}

/// Largest epoll number of the multiplexer's own descriptors.
pub const MAX_TOKEN: u64 = LISTENER;
