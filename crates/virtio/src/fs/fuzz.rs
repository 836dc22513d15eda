//! A client whose every request a fuzzer writes, in letters, so that seeds are text. A request is its operation, the
//! length that it claims, and the buffers of its chain up to a full stop: `m` is the message, the others are a place and a
//! length; a capital letter is a buffer for the device to write. `c=mSk.` makes a file, `w=mdpSk.` writes a page to it.

use cenote_fuse::passthrough::{Config, Locks, Passthrough};
use cenote_fuse::server::Server;
use cenote_fuse::testing::{Share, as_one_user, me, message, whole_offer};
use cenote_fuse::wire::{
    CreateIn, EntryOut, FileLock, ForgetIn, LkIn, Opcode, OpenOut, OutHeader, ROOT, ReadIn, WriteIn,
};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

use super::aside::Aside;
use super::worker::{Next, Service};
use crate::testing::{Buffer, Choices, CutWindow, Driver, FakeGuest};

/// Most requests of one play, and most buffers of a request, so that the fake driver's descriptors suffice.
const MAX_REQUESTS: usize = 60;
const MAX_BUFFERS: usize = 8;
const RING_SIZE: u16 = 512;

/// Plays `data`, and checks after every request that it came back or waits for a lock, and that nothing happened outside of
/// the shared directory.
///
/// # Panics
///
/// If it did: that is a defect of the device.
pub fn requests(data: &[u8]) {
    // A thread that serves gives up rights and its working directory, for good.
    std::thread::scope(|scope| {
        let playing = scope.spawn(|| play(data));
        playing.join().expect("no defect");
    });
}

fn play(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut host = Host::new();
    let config = Config {
        locks: Locks::Host,
        ..as_one_user()
    };
    let directory = Passthrough::new(&host.share.inside, config).expect("a directory");
    let server = Server::new(directory);
    let worker = server.directory().worker().expect("a worker");
    let memory = host.guest.memory();
    let aside = Aside::new().expect("an eventfd");
    let mut service = Service::new(host.driver.ring(), &server, &memory, &aside, worker);
    for _ in 0..MAX_REQUESTS {
        let Some(operation) = bytes.next() else { break };
        host.offer(operation, &mut bytes);
        while service.round().expect("a sound ring") == Next::Serve {}
        host.take_answers();
        assert_eq!(host.offered - host.answered, aside.under_way().len());
        host.check();
    }
    server.client_gone();
    while service.round().expect("a sound ring") == Next::Serve {}
    host.take_answers();
    assert_eq!(host.offered, host.answered);
    assert_eq!(server.directory().known(), (1, 0, 0));
}

/// The guest, and the files that it can reach.
struct Host {
    guest: FakeGuest,
    driver: Driver,
    page: u64,
    window: CutWindow,
    share: Share,
    /// What the last reply told.
    node: u64,
    fh: u64,
    offered: usize,
    answered: usize,
}

impl Host {
    fn new() -> Self {
        let (window, mut guest) = CutWindow::with_guest();
        Self {
            driver: guest.driver(1, RING_SIZE),
            page: guest.allocate(1 << 20),
            guest,
            window,
            share: Share::new(),
            node: ROOT,
            fh: 0,
            offered: 0,
            answered: 0,
        }
    }

    fn offer(&mut self, operation: u8, bytes: &mut Choices<'_>) {
        let claim = bytes.u8();
        let mut message = self.message(operation, bytes);
        let data = match operation {
            b'w' => 4096,
            _ => 0,
        };
        let len = message.len() as u32 + data;
        let len = match claim {
            b'=' => len,
            b'+' => len + 1,
            b'-' => len - 1,
            other => u32::from(other) << (other & 31),
        };
        message[..4].copy_from_slice(&len.to_ne_bytes());
        self.guest.write(self.page, &message);
        let buffers = self.buffers(message.len() as u32, bytes);
        self.driver.offer(&buffers);
        self.offered += 1;
    }

    /// A request about what the last replies told; other letters than those below are operations whose arguments follow.
    fn message(&self, operation: u8, bytes: &mut Choices<'_>) -> Vec<u8> {
        let lock = |owner, kind: i32| LkIn {
            fh: self.fh,
            owner,
            lk: FileLock {
                start: 0,
                end: 9,
                kind: kind as u32,
                pid: 1,
            },
            lk_flags: 0,
            padding: 0,
        };
        let create = CreateIn {
            flags: libc::O_RDWR as u32,
            mode: 0o100_644,
            umask: 0,
            open_flags: 0,
        };
        let mut read = ReadIn::new_zeroed();
        (read.fh, read.size) = (self.fh, 4096);
        let mut write = WriteIn::new_zeroed();
        (write.fh, write.size) = (self.fh, 4096);
        let (opcode, body) = match operation {
            b'i' => (Opcode::Init, whole_offer().as_bytes().to_vec()),
            b'l' => (Opcode::Lookup, b"f\0".to_vec()),
            b'c' => (Opcode::Create, [create.as_bytes(), b"f\0"].concat()),
            b'o' => (Opcode::Opendir, vec![0; 8]),
            b'd' => (Opcode::Readdirplus, read.as_bytes().to_vec()),
            b'r' => (Opcode::Read, read.as_bytes().to_vec()),
            b'w' => (Opcode::Write, write.as_bytes().to_vec()),
            b'f' => (Opcode::Forget, ForgetIn { nlookup: 1 }.as_bytes().to_vec()),
            b'k' => (Opcode::Setlkw, lock(1, libc::F_WRLCK).as_bytes().to_vec()),
            b'q' => (Opcode::Setlkw, lock(2, libc::F_WRLCK).as_bytes().to_vec()),
            b'u' => (Opcode::Setlk, lock(1, libc::F_UNLCK).as_bytes().to_vec()),
            b's' => (Opcode::Statfs, Vec::new()),
            other => {
                let body = (0..other & 63).map(|_| bytes.u8()).collect();
                let number = u32::from(other) % 60;
                let known = Opcode::from_number(number).unwrap_or(Opcode::Access);
                (known, body)
            }
        };
        let node = if operation == b'f' { self.node } else { ROOT };
        message(me(), self.offered as u64, opcode, node, &[&body], 0)
    }

    fn buffers(&self, message: u32, bytes: &mut Choices<'_>) -> Vec<Buffer> {
        let mut buffers = Vec::new();
        while buffers.len() < MAX_BUFFERS {
            let place = bytes.u8();
            if matches!(place, b'.' | 0) {
                break;
            }
            if place == b'm' {
                buffers.push(Buffer::readable(self.page, message));
                continue;
            }
            let addr = match place.to_ascii_lowercase() {
                b'd' => self.page + (1 << 16),
                b's' => self.page + (1 << 17),
                _ => CutWindow::place(place),
            };
            let len = length(bytes.u8());
            buffers.push(Buffer::by_case(place, addr, len));
        }
        if buffers.is_empty() {
            buffers.push(Buffer::readable(self.page, message));
        }
        buffers
    }

    /// Takes what came back, and learns from the last reply where replies are.
    fn take_answers(&mut self) {
        while let Some((_, written)) = self.driver.used() {
            self.answered += 1;
            let header = size_of::<OutHeader>();
            if written as usize <= header {
                continue;
            }
            let reply = self.guest.read(self.page + (1 << 17), 256);
            let body = &reply[header..];
            match written as usize - header {
                // An entry, perhaps with an open file.
                128 | 144 => {
                    if let Ok((entry, rest)) = EntryOut::read_from_prefix(body) {
                        self.node = entry.node;
                        self.fh = OpenOut::read_from_prefix(rest).map_or(0, |(open, _)| open.fh);
                    }
                }
                16 => self.fh = OpenOut::read_from_prefix(body).map_or(0, |(open, _)| open.fh),
                _ => {}
            }
        }
    }

    fn check(&self) {
        self.window.check();
        self.share.assert_outside_untouched();
    }
}

fn length(choice: u8) -> u32 {
    match choice {
        b'0'..=b'9' => (choice - b'0').into(),
        b'h' => 16,
        b'k' => 1024,
        b'p' => 4096,
        b'l' => 1 << 20,
        b'x' => u32::MAX,
        other => u32::from(other) * 97,
    }
}
