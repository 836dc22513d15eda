//! A VMM whose every message a fuzzer writes, in letters, so that seeds are text. A message is its request, the flags of
//! its header (`1` is the version, `9` asks for an answer too), the length that it claims, and two lists that end with a
//! full stop: words of 8 bytes (`'` before one of 4), and descriptors. `f9=F..` accepts all features, `k1=0.e.` gives ring 0
//! its doorbell.

use std::fs::File;
use std::io::{IoSlice, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use vhost::vhost_user::BackendReqHandler;
use vhost::vhost_user::message::{FrontendReq, VhostUserProtocolFeatures};

use super::answer_all;
use super::backend::{Backend, PROTOCOL_FEATURES};
use crate::device::{ActivateError, Activation, Device, DeviceState, feature};
use crate::memory::total_len;
use crate::queue::{Ring, RingPosition};
use crate::rng::RngState;
use crate::testing::{Buffer, Choices, Driver, FakeGuest, RAM_SIZE};

/// Where the VMM has guest memory in its own address space, as far as it says.
const BASE: u64 = 0x7000_0000_0000;
const RING_SIZE: u16 = 16;
/// Most messages of one play, and most words and descriptors of each: all must fit into the socket before any is read.
const MAX_MESSAGES: usize = 64;
const MAX_WORDS: usize = 40;
const MAX_FDS: usize = 33;
/// What a front-end of ours asks for.
const WANTED: VhostUserProtocolFeatures = VhostUserProtocolFeatures::CONFIG
    .union(VhostUserProtocolFeatures::MQ)
    .union(VhostUserProtocolFeatures::RESET_DEVICE)
    .union(VhostUserProtocolFeatures::CONFIGURE_MEM_SLOTS)
    .union(VhostUserProtocolFeatures::REPLY_ACK);
/// Bytes of a message's header: request, flags, length.
const HEADER: usize = 12;
/// What a file that is no RAM holds.
const UNTOUCHED: [u8; 4096] = [7; 4096];

/// Plays `data` to a device with two rings, and checks that it is only ever given rings in the guest's RAM, that it is idle
/// before it starts and after the VMM has gone, and that answers are whole.
///
/// # Panics
///
/// If not: that is a defect of the transport.
pub fn messages(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut vmm = Vmm::new();
    let (ours, mut theirs) = UnixStream::pair().expect("a socket pair");
    for _ in 0..MAX_MESSAGES {
        let Some(request) = bytes.next() else { break };
        vmm.send(&theirs, request, &mut bytes);
    }
    theirs.shutdown(Shutdown::Write).expect("a socket");

    let backend = Arc::new(Mutex::new(Backend::new(
        Box::new(Giver::default()),
        Arc::default(),
    )));
    let mut requests = BackendReqHandler::from_stream(ours, Arc::clone(&backend));
    // What is refused ends the service, and how is the unit tests' business.
    let _ = answer_all(&mut requests);
    backend.lock().expect("no panic").frontend_gone();
    drop((requests, backend));

    let mut answers = Vec::new();
    // Ends with an error where messages were left unread.
    let _ = theirs.read_to_end(&mut answers);
    check_answers(&answers);
    vmm.check();
}

/// Whoever asks, and what it has to give.
struct Vmm {
    guest: FakeGuest,
    drivers: [Driver; 2],
    /// A file that is no RAM.
    image: File,
}

impl Vmm {
    fn new() -> Self {
        let mut guest = FakeGuest::new();
        let mut drivers = [0, 1].map(|index| guest.driver(index, RING_SIZE));
        let page = guest.allocate(4096);
        for driver in &mut drivers {
            driver.offer(&[Buffer::readable(page, 64), Buffer::writable(page, 64)]);
        }
        let mut image = tempfile::tempfile().expect("a file");
        image.write_all(&UNTOUCHED).expect("a file");
        Self {
            guest,
            drivers,
            image,
        }
    }

    fn send(&self, socket: &UnixStream, request: u8, bytes: &mut Choices<'_>) {
        let flags = u32::from(bytes.u8() ^ b'0');
        let claim = bytes.u8();
        let mut body = Vec::new();
        for _ in 0..MAX_WORDS {
            match bytes.u8() {
                b'.' | 0 => break,
                b'\'' => body.extend((self.word(bytes.u8()) as u32).to_ne_bytes()),
                choice => body.extend(self.word(choice).to_ne_bytes()),
            }
        }
        let mut fds = Vec::new();
        while fds.len() < MAX_FDS {
            fds.push(match bytes.u8() {
                b'm' => self.guest.file().as_fd(),
                b'i' => self.image.as_fd(),
                b'e' => self.drivers[0].doorbell_fd(),
                _ => break,
            });
        }
        let len = body.len() as u32;
        let len = match claim {
            b'=' => len,
            b'+' => len + 1,
            b'-' => len.saturating_sub(1),
            other => u32::from(other) << (other & 31),
        };
        let header = [number(request), flags, len].map(u32::to_ne_bytes).concat();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() {
            assert!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)));
        }
        let parts = [IoSlice::new(&header), IoSlice::new(&body)];
        let sent = sendmsg(socket, &parts, &mut ancillary, SendFlags::DONTWAIT);
        assert_eq!(sent, Ok(header.len() + body.len()), "the socket is full");
    }

    /// Digits are small numbers, capital letters those that a message needs, the others some around the limits.
    fn word(&self, choice: u8) -> u64 {
        let [zero, one] = self.drivers.each_ref().map(|driver| driver.layout);
        match choice {
            b'0'..=b'9' => (choice - b'0').into(),
            b'F' => Giver::default().features() | PROTOCOL_FEATURES,
            b'P' => PROTOCOL_FEATURES,
            b'Q' => WANTED.bits(),
            b'B' => BASE,
            b'S' => RAM_SIZE,
            b'H' => RING_SIZE.into(),
            b'D' => BASE + zero.desc_table,
            b'A' => BASE + zero.avail_ring,
            b'U' => BASE + zero.used_ring,
            b'd' => BASE + one.desc_table,
            b'a' => BASE + one.avail_ring,
            b'u' => BASE + one.used_ring,
            b'p' => 4096,
            // No descriptor follows.
            b'N' => 0x100,
            b'X' => u64::MAX,
            other => u64::from(other) << (other & 63),
        }
    }

    fn check(&mut self) {
        let len = self.guest.file().metadata().expect("a file").len();
        assert_eq!(len, RAM_SIZE);
        let mut image = Vec::new();
        self.image.rewind().expect("a file");
        self.image.read_to_end(&mut image).expect("a file");
        assert!(image == UNTOUCHED, "a file that is no RAM was written");
    }
}

/// Letters for the requests that the back-end knows; others are numbers.
fn number(letter: u8) -> u32 {
    let request = match letter {
        b'g' => FrontendReq::GET_FEATURES,
        b'f' => FrontendReq::SET_FEATURES,
        b'o' => FrontendReq::SET_OWNER,
        b'O' => FrontendReq::RESET_OWNER,
        b'm' => FrontendReq::SET_MEM_TABLE,
        b'n' => FrontendReq::SET_VRING_NUM,
        b'd' => FrontendReq::SET_VRING_ADDR,
        b'b' => FrontendReq::SET_VRING_BASE,
        b'B' => FrontendReq::GET_VRING_BASE,
        b'k' => FrontendReq::SET_VRING_KICK,
        b'c' => FrontendReq::SET_VRING_CALL,
        b'e' => FrontendReq::SET_VRING_ERR,
        b'q' => FrontendReq::GET_PROTOCOL_FEATURES,
        b'p' => FrontendReq::SET_PROTOCOL_FEATURES,
        b'N' => FrontendReq::GET_QUEUE_NUM,
        b'E' => FrontendReq::SET_VRING_ENABLE,
        b'i' => FrontendReq::GET_CONFIG,
        b'I' => FrontendReq::SET_CONFIG,
        b'R' => FrontendReq::RESET_DEVICE,
        b'x' => FrontendReq::GET_MAX_MEM_SLOTS,
        b'a' => FrontendReq::ADD_MEM_REG,
        b'r' => FrontendReq::REM_MEM_REG,
        other => return other.into(),
    };
    request.into()
}

/// That the back-end sent nothing but whole answers, each no longer than the protocol allows.
fn check_answers(mut answers: &[u8]) {
    while !answers.is_empty() {
        let word = |at: usize| u32::from_ne_bytes(answers[at..at + 4].try_into().expect("a word"));
        assert!(answers.len() >= HEADER, "part of a header");
        let (flags, len) = (word(4), word(8) as usize);
        assert_eq!(flags & 0b111, 0b101, "no answer of this version");
        assert!(
            len <= 4096 && len <= answers.len() - HEADER,
            "part of an answer"
        );
        answers = &answers[HEADER + len..];
    }
}

/// A device that takes what waits in its rings when it starts, and gives it back.
#[derive(Default)]
struct Giver {
    config: [u8; 8],
    rings: Vec<Option<Ring>>,
}

impl Device for Giver {
    fn name(&self) -> &'static str {
        "giver"
    }

    fn device_type(&self) -> u32 {
        0
    }

    fn features(&self) -> u64 {
        feature::RING
    }

    fn queue_sizes(&self) -> &[u16] {
        &[RING_SIZE; 2]
    }

    fn read_config(&self, offset: u64, data: &mut [u8]) {
        crate::device::read_config_from(&self.config, offset, data);
    }

    fn activate(&mut self, activation: Activation) -> Result<(), ActivateError> {
        assert!(self.rings.is_empty(), "it runs already");
        assert_eq!(activation.features & !feature::RING, 0, "never offered");
        self.rings = activation.rings;
        assert_eq!(self.rings.len(), 2);
        assert!(self.rings.iter().any(Option::is_some), "nothing to serve");
        for ring in self.rings.iter_mut().flatten() {
            while let Ok(Some(popped)) = ring.pop() {
                let Ok(chain) = popped else { continue };
                let room = total_len(chain.writable()).min(4) as usize;
                // Addresses are wherever the rings are said to be: an error is as good as a copy.
                let _ = ring.memory().copy_in(chain.writable(), 0, &[1; 4][..room]);
                if ring.push(chain, room as u32).is_err() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn pause(&mut self) -> Vec<Option<RingPosition>> {
        let rings = std::mem::take(&mut self.rings);
        let position = |ring: Option<Ring>| ring.map(|ring| ring.position());
        rings.into_iter().map(position).collect()
    }

    fn reset(&mut self) {
        assert!(self.rings.is_empty(), "it is not idle");
    }

    fn save(&self) -> DeviceState {
        DeviceState::Rng(RngState {})
    }
}

impl Drop for Giver {
    fn drop(&mut self) {
        assert!(self.rings.is_empty(), "it is not idle");
    }
}
