//! Lends a vsock device to the program that is started, for trying it out under another VMM.
//!
//! `vsock_under SOCKET COMMAND...`: the host's socket is bound at SOCKET, and COMMAND is started with the front-end's end
//! of the vhost-user connection in place of every `{fd}` in its arguments. Ends when COMMAND has ended.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use cenote_virtio::vhost_user;
use cenote_virtio::vsock::{Vsock, VsockSpec};
use rustix::io::{FdFlags, fcntl_setfd};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let socket = PathBuf::from(args.next().ok_or("no SOCKET given")?);
    let program = args.next().ok_or("no COMMAND given")?;
    let (ours, theirs) = UnixStream::pair()?;
    let device = Vsock::new(&VsockSpec {
        guest_cid: 3,
        socket,
    })?;
    let mut handle = vhost_user::serve(Box::new(device), ours)?;
    fcntl_setfd(&theirs, FdFlags::empty())?;
    let fd = theirs.as_raw_fd().to_string();
    let args = args.map(|arg| OsString::from(arg.to_string_lossy().replace("{fd}", &fd)));
    let mut child = Command::new(program).args(args).spawn()?;
    drop(theirs);
    child.wait()?;
    handle.wait()?;
    Ok(())
}
