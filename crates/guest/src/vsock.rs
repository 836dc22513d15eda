//! vsock sockets (`AF_VSOCK`, vsock(7)).

use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use rustix::io::Result;

use crate::connection::Connection;
use crate::sys::{check, last_error};

/// How many process connections may wait to be accepted; the kernel's own limit (`SOMAXCONN`) is the same.
const BACKLOG: libc::c_int = 4096;

/// How long to wait for the host's answer, in seconds. The kernel's default of two is short for a busy machine
/// that emulates its processor.
const CONNECT_TIMEOUT_SECONDS: i64 = 60;

/// The option that sets it, taking a `timeval` (`linux/vm_sockets.h`; libc lacks it).
const SO_VM_SOCKETS_CONNECT_TIMEOUT: libc::c_int = 6;

fn address(cid: u32, port: u32) -> libc::sockaddr_vm {
    // SAFETY: all-zero is a valid `sockaddr_vm`: plain integers.
    let mut address: libc::sockaddr_vm = unsafe { std::mem::zeroed() };
    address.svm_family = libc::AF_VSOCK as libc::sa_family_t;
    address.svm_cid = cid;
    address.svm_port = port;
    address
}

fn socket() -> Result<OwnedFd> {
    // SAFETY: a plain system call on integers.
    let fd = unsafe { libc::socket(libc::AF_VSOCK, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Connects to `port` of the machine `cid`.
///
/// # Errors
/// `EAFNOSUPPORT` or `ENODEV` without a vsock device, `ECONNRESET` if nobody listens, `ETIMEDOUT` if nobody answers.
pub fn connect(cid: u32, port: u32) -> Result<OwnedFd> {
    let socket = socket()?;
    let timeout = libc::timeval {
        tv_sec: CONNECT_TIMEOUT_SECONDS,
        tv_usec: 0,
    };
    // SAFETY: the kernel reads one `timeval`, the size says so.
    check(i64::from(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::AF_VSOCK,
            SO_VM_SOCKETS_CONNECT_TIMEOUT,
            (&raw const timeout).cast(),
            size_of::<libc::timeval>() as libc::socklen_t,
        )
    }))?;
    let to = address(cid, port);
    // SAFETY: the kernel reads one `sockaddr_vm`, the size says so.
    check(i64::from(unsafe {
        libc::connect(
            socket.as_raw_fd(),
            (&raw const to).cast(),
            size_of::<libc::sockaddr_vm>() as libc::socklen_t,
        )
    }))?;
    Ok(socket)
}

/// Listens on `port`, for any peer.
///
/// # Errors
/// `EADDRINUSE` if the port is taken, `EAFNOSUPPORT` without vsock.
pub fn listen(port: u32) -> Result<OwnedFd> {
    let socket = socket()?;
    let at = address(libc::VMADDR_CID_ANY, port);
    // SAFETY: the kernel reads one `sockaddr_vm`, the size says so.
    check(i64::from(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const at).cast(),
            size_of::<libc::sockaddr_vm>() as libc::socklen_t,
        )
    }))?;
    // SAFETY: a plain system call on integers.
    check(i64::from(unsafe {
        libc::listen(socket.as_raw_fd(), BACKLOG)
    }))?;
    Ok(socket)
}

/// Waits for the next connection.
///
/// # Errors
/// As accept4(2).
pub fn accept(listener: &OwnedFd) -> Result<Connection> {
    // SAFETY: the null pointers say that the peer's address is not wanted.
    let fd = unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            libc::SOCK_CLOEXEC,
        )
    };
    if fd < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(Connection::new(unsafe { OwnedFd::from_raw_fd(fd) }))
}
