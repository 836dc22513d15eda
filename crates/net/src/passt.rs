//! One passt process: its command line, the moment when it is ready, and why it failed if it did.
//!
//! passt in the foreground says nothing when it is ready, so we ask it something: an ARP request for the gateway. Its
//! answer proves that the ports are open and the frames flow, and teaches passt the guest's Ethernet address.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::egress::ETHERNET_HEADER;
use crate::ports::{Protocol, PublishedPort};
use crate::relay::{LENGTH, MAX_FRAME};
use crate::settings::{FORWARDER, GATEWAY, GATEWAY_MAC, GUEST, GUEST_MAC, PREFIX};

/// How long passt may take until it answers; it takes some 20 ms when nothing else runs.
const READY_WITHIN: Duration = Duration::from_secs(20);
/// How much of passt's log is quoted when it fails, in bytes.
const QUOTED: u64 = 2048;
/// Bytes of an ARP packet for IPv4 over Ethernet (RFC 826).
const ARP: usize = 28;

/// A running passt. Dropping it ends the process.
#[derive(Debug)]
pub(crate) struct Passt {
    child: Child,
}

/// Why there is no running passt.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not be executed.
    Spawn(io::Error),
    /// It ended by itself.
    Ended,
    /// It did not answer in time.
    Silent,
    /// The socket to it failed.
    Socket(io::Error),
}

impl Passt {
    /// Starts `command` with `ports` open, and waits until it answers on the returned socket.
    ///
    /// With `forward_dns`, queries to [`FORWARDER`] go to the first resolver of the host's resolv.conf(5), which passt
    /// reads itself, and what that resolver says seems to come from there; without it, the guest asks resolvers directly.
    ///
    /// What passt prints goes to `log`. The process dies with the calling thread, and at the latest when the returned
    /// socket closes.
    pub(crate) fn start(
        mut command: Command,
        ports: &[PublishedPort],
        forward_dns: bool,
        log: &File,
    ) -> Result<(Self, UnixStream), Failure> {
        let (ours, theirs) = UnixStream::pair().map_err(Failure::Socket)?;
        let output = || log.try_clone().map_err(Failure::Spawn);
        command
            .args(arguments(ports, forward_dns))
            .arg("--fd")
            .arg(theirs.as_raw_fd().to_string())
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(output()?)
            .stderr(output()?)
            .process_group(0);
        let mut passt = Self {
            child: spawn(command, theirs.into()).map_err(Failure::Spawn)?,
        };
        match ready(&ours) {
            Ok(()) => Ok((passt, ours)),
            Err(failure) => {
                passt.end();
                Err(failure)
            }
        }
    }

    /// Ends the process, if it still runs, and waits for it.
    fn end(&mut self) {
        // Both fail only when the process has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Passt {
    fn drop(&mut self) {
        self.end();
    }
}

/// Opens the log at `path` for passt's output, behind what is there.
pub(crate) fn open_log(path: &Path) -> io::Result<(File, u64)> {
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .read(true)
        .mode(0o600)
        .open(path)?;
    let end = file.seek(SeekFrom::End(0))?;
    Ok((file, end))
}

/// The end of what stands in `log` from `start` on, on one line, for an error message.
pub(crate) fn quote(mut log: &File, start: u64) -> String {
    let mut text = Vec::new();
    let end = log.seek(SeekFrom::End(0)).unwrap_or(start);
    let read = log
        .seek(SeekFrom::Start(start.max(end.saturating_sub(QUOTED))))
        .and_then(|_| log.take(QUOTED).read_to_end(&mut text));
    match read {
        Ok(0) => "nothing".to_owned(),
        Ok(_) => {
            let lines = String::from_utf8_lossy(&text);
            let lines: Vec<_> = lines
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .collect();
            lines.join("; ")
        }
        Err(error) => format!("(its log cannot be read: {error})"),
    }
}

/// Everything but the socket. passt takes the host's addresses, routes and MAC for the guest's unless told otherwise;
/// all of them are told, and the interface that it would take them from is the loopback, which also a host without any
/// network has.
fn arguments(ports: &[PublishedPort], forward_dns: bool) -> Vec<String> {
    let mac = GATEWAY_MAC.map(|byte| format!("{byte:02x}")).join(":");
    let mut arguments = vec![
        "--foreground".to_owned(),
        "--quiet".to_owned(),
        "--one-off".to_owned(),
        "--ipv4-only".to_owned(),
        "--no-dhcp".to_owned(),
        "--interface=lo".to_owned(),
        format!("--address={GUEST}"),
        format!("--netmask={PREFIX}"),
        format!("--gateway={GATEWAY}"),
        format!("--mac-addr={mac}"),
    ];
    if forward_dns {
        arguments.push(format!("--dns-forward={FORWARDER}"));
    }
    // The rules keep the guest from the gateway. That passt keeps the gateway from the host's loopback as well is a
    // second lock, but passt of 2023 then loses a guest's answers to datagrams from there.
    if ports.iter().all(|port| port.protocol == Protocol::Tcp) {
        arguments.push("--no-map-gw".to_owned());
    }
    arguments.extend(ports.iter().map(|port| {
        let PublishedPort {
            address,
            host,
            guest,
            protocol,
        } = port;
        format!("--{protocol}-ports={address}/{host}:{guest}")
    }));
    arguments
}

fn spawn(mut command: Command, socket: OwnedFd) -> io::Result<Child> {
    let parent = getpid();
    let number = socket.as_raw_fd();
    // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing is allocated. `number`
    // is open in the child, because `socket` lives until after the fork, so borrowing it there is sound.
    unsafe {
        command.pre_exec(move || {
            rustix::io::fcntl_setfd(BorrowedFd::borrow_raw(number), rustix::io::FdFlags::empty())?;
            set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above; then nobody would send that signal.
            if getppid() != Some(parent) {
                return Err(io::Error::from(ErrorKind::BrokenPipe));
            }
            Ok(())
        });
    }
    command.spawn()
}

/// Asks for the gateway's Ethernet address and waits for the answer.
fn ready(mut socket: &UnixStream) -> Result<(), Failure> {
    let deadline = Instant::now() + READY_WITHIN;
    socket.write_all(&request()).map_err(ended)?;
    let mut frame = vec![0; MAX_FRAME];
    loop {
        let mut length = [0; LENGTH];
        read_until(socket, &mut length, deadline)?;
        let length = u32::from_be_bytes(length) as usize;
        let frame = frame
            .get_mut(..length)
            .ok_or_else(|| Failure::Socket(ErrorKind::InvalidData.into()))?;
        read_until(socket, frame, deadline)?;
        if is_answer(frame) {
            return socket.set_read_timeout(None).map_err(Failure::Socket);
        }
    }
}

/// Fills `buffer` from `socket`.
fn read_until(
    mut socket: &UnixStream,
    mut buffer: &mut [u8],
    deadline: Instant,
) -> Result<(), Failure> {
    while !buffer.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Failure::Silent);
        }
        socket
            .set_read_timeout(Some(left))
            .map_err(Failure::Socket)?;
        match socket.read(buffer) {
            Ok(0) => return Err(Failure::Ended),
            Ok(count) => buffer = &mut buffer[count..],
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(ended(error)),
        }
    }
    Ok(())
}

fn ended(error: io::Error) -> Failure {
    match error.kind() {
        ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Failure::Ended,
        _ => Failure::Socket(error),
    }
}

/// An ARP request by the guest for the gateway's address, its length in front.
fn request() -> Vec<u8> {
    let mut frame = Vec::from(((ETHERNET_HEADER + ARP) as u32).to_be_bytes());
    frame.extend([0xff; 6]);
    frame.extend(GUEST_MAC);
    frame.extend([0x08, 0x06]);
    // Hardware type Ethernet, protocol IPv4, lengths of their addresses, operation "request".
    frame.extend([0, 1, 0x08, 0x00, 6, 4, 0, 1]);
    frame.extend(GUEST_MAC);
    frame.extend(GUEST.octets());
    frame.extend([0; 6]);
    frame.extend(GATEWAY.octets());
    frame
}

fn is_answer(frame: &[u8]) -> bool {
    let arp_reply = frame.get(12..22) == Some(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4, 0, 2]);
    arp_reply && frame.get(28..32) == Some(&GATEWAY.octets())
}

#[cfg(test)]
#[path = "passt_test.rs"]
mod tests;
