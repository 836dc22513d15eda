//! The only program of a guest whose devices' requests are counted: as process 1 it sends requests to each device that it
//! finds, one after the other, marks each phase by CPUID, and resets the machine.

use std::arch::x86_64::__cpuid_count;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use cenote_bench::requests::{END, ETHER_TYPE, INTERRUPTS, MARKS, REQUESTS, VSOCK_PORT};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, mount};
use rustix::process::Pid;
use rustix::system::{RebootCommand, reboot};

/// Bytes of a block request, aligned as O_DIRECT wants it.
#[repr(align(4096))]
struct Block([u8; 4096]);

/// Blocks of the disk that are used in turn.
const BLOCKS: u64 = 256;
/// How long the phase without requests takes.
const PAUSE: Duration = Duration::from_secs(2);
/// A first frame without an echo for so long is sent again.
const LOST: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

fn main() {
    if rustix::process::getpid() != Pid::INIT {
        eprintln!(
            "this is the first process of a guest that `kvm_requests` measures; it does nothing elsewhere"
        );
        return;
    }
    if let Err(error) = run() {
        eprintln!("requests_guest: {error}");
    }
    let _ = reboot(RebootCommand::Restart);
}

fn run() -> io::Result<()> {
    for (kind, at) in [("devtmpfs", "/dev"), ("proc", "/proc")] {
        fs::create_dir_all(at)?;
        mount(kind, at, kind, MountFlags::empty(), None)?;
    }
    phase(0, 1, || {
        std::thread::sleep(PAUSE);
        Ok(())
    })?;
    if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/hvc0") {
        phase(1, REQUESTS, || console.write_all(&[b'.'; 16]))?;
    }
    if Path::new("/dev/vda").exists() {
        let disk = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_DIRECT)
            .open("/dev/vda")?;
        block(&disk)?;
    }
    if let Ok(socket) = packets() {
        let mut socket = File::from(socket);
        let mut number = 0;
        // What is sent while the card comes up may be lost.
        loop {
            socket.write_all(&frame(number))?;
            if poll(&mut [PollFd::new(&socket, PollFlags::IN)], Some(&LOST))? > 0 {
                break;
            }
        }
        phase(5, REQUESTS, || {
            number += 1;
            let frame = frame(number);
            socket.write_all(&frame)?;
            let mut answer = [0; 2048];
            loop {
                let len = socket.read(&mut answer)?;
                if answer[..len].starts_with(&frame) {
                    return Ok(());
                }
            }
        })?;
    }
    if let Ok(socket) = vsock() {
        let mut socket = File::from(socket);
        phase(6, REQUESTS, || {
            socket.write_all(b".")?;
            socket.read_exact(&mut [0])
        })?;
    }
    if let Ok(pmem) = OpenOptions::new().write(true).open("/dev/pmem0") {
        phase(7, REQUESTS, || pmem.sync_data())?;
    }
    Ok(())
}

fn block(disk: &File) -> io::Result<()> {
    let mut data = Block([0; 4096]);
    let mut number = 0;
    let mut next = || {
        number = (number + 1) % BLOCKS;
        number * 4096
    };
    phase(2, REQUESTS, || disk.read_exact_at(&mut data.0, next()))?;
    phase(3, REQUESTS, || disk.write_all_at(&data.0, next()))?;
    phase(4, REQUESTS, || disk.sync_data())
}

/// Sends a request, then `count` that are counted.
fn phase(number: u32, count: u32, mut request: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    if count > 1 {
        request()?;
    }
    let before = interrupts()?;
    mark(MARKS, number);
    for _ in 0..count {
        request()?;
    }
    mark(MARKS, number + END);
    mark(INTERRUPTS, interrupts()? - before);
    Ok(())
}

/// Interrupts of virtio devices so far, on the only CPU.
fn interrupts() -> io::Result<u32> {
    let table = fs::read_to_string("/proc/interrupts")?;
    let lines = table.lines().filter(|line| line.contains("virtio"));
    let counts = lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u32>().ok());
    Ok(counts.sum())
}

/// Says a number: CPUID always leaves the guest, and KVM traces what was asked.
fn mark(leaf: u32, value: u32) {
    __cpuid_count(leaf, value);
}

/// A frame to everybody that differs from the others.
fn frame(number: u32) -> [u8; 60] {
    let mut frame = [0; 60];
    frame[..12].fill(0xff);
    frame[12..14].copy_from_slice(&ETHER_TYPE);
    frame[14..18].copy_from_slice(&number.to_be_bytes());
    frame
}

/// A socket for frames of the network card, which is up.
fn packets() -> io::Result<OwnedFd> {
    let protocol = u16::from_be_bytes(ETHER_TYPE).to_be();
    let socket = socket(libc::AF_PACKET, libc::SOCK_RAW, protocol.into())?;
    // SAFETY: an interface request of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"eth0\0") {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: the request is a whole one, of this socket's kind.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCSIFFLAGS as _,
            &raw mut request,
        )
    })?;
    // SAFETY: as above; the kernel fills in the index.
    check(unsafe {
        libc::ioctl(
            socket.as_raw_fd(),
            libc::SIOCGIFINDEX as _,
            &raw mut request,
        )
    })?;
    // SAFETY: an address of zeros is a valid one.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol;
    // SAFETY: the call before has put the index there.
    address.sll_ifindex = unsafe { request.ifr_ifru.ifru_ifindex };
    with(&socket, &address, libc::bind)?;
    Ok(socket)
}

/// A stream to the host.
fn vsock() -> io::Result<OwnedFd> {
    let socket = socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0)?;
    // SAFETY: an address of zeros is a valid one.
    let mut address: libc::sockaddr_vm = unsafe { mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as u16;
    address.svm_cid = libc::VMADDR_CID_HOST;
    address.svm_port = VSOCK_PORT;
    with(&socket, &address, libc::connect)?;
    Ok(socket)
}

fn socket(family: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let socket = check(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

type Call = unsafe extern "C" fn(i32, *const libc::sockaddr, libc::socklen_t) -> i32;

fn with<T>(socket: &OwnedFd, address: &T, call: Call) -> io::Result<i32> {
    let length = mem::size_of_val(address) as libc::socklen_t;
    // SAFETY: the address is `length` bytes long and lives during the call.
    check(unsafe { call(socket.as_raw_fd(), (&raw const *address).cast(), length) })
}

fn check(result: i32) -> io::Result<i32> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}
