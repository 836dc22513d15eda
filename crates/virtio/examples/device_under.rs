//! Lends a device to the program that is started, for trying it out under another VMM.
//!
//! `device_under block FILE COMMAND...`, `device_under fs DIRECTORY COMMAND...` or `device_under vsock SOCKET COMMAND...`: COMMAND is started with the front-end's
//! end of the vhost-user connection in place of every `{fd}` in its arguments. Ends when COMMAND has ended. For QEMU,
//! guest memory must be a shared memory file:
//!
//! ```text
//! device_under block disk.raw qemu-system-x86_64 -object memory-backend-memfd,id=ram,size=512M,share=on
//!     -machine q35,memory-backend=ram -chardev socket,id=c0,fd={fd} -device vhost-user-blk-pci,chardev=c0 ...
//! ```

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use cenote_fuse::passthrough::{Config, Passthrough};
use cenote_fuse::server::Server;
use cenote_virtio::block::{Block, BlockSpec, MAX_QUEUES};
use cenote_virtio::device::Device;
use cenote_virtio::fs::{self, Fs, FsSpec};
use cenote_virtio::vhost_user;
use cenote_virtio::vsock::{Vsock, VsockSpec};
use rustix::io::{FdFlags, fcntl_setfd};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let kind = args.next().ok_or("block, fs or vsock?")?;
    let path = PathBuf::from(args.next().ok_or("no FILE, DIRECTORY or SOCKET given")?);
    let program = args.next().ok_or("no COMMAND given")?;
    let device: Box<dyn Device> = match kind.to_str() {
        Some("block") => Box::new(Block::new(&BlockSpec {
            path,
            read_only: false,
            ephemeral: false,
            queues: MAX_QUEUES,
            id: "cenote".into(),
        })?),
        Some("fs") => Box::new(Fs::new(FsSpec {
            tag: "share".into(),
            queues: fs::MAX_QUEUES,
            server: Arc::new(Server::new(Passthrough::new(&path, Config::default())?)),
        })?),
        Some("vsock") => Box::new(Vsock::new(&VsockSpec {
            guest_cid: 3,
            socket: path,
        })?),
        _ => return Err("the device is block, fs or vsock".into()),
    };
    let (ours, theirs) = UnixStream::pair()?;
    let mut handle = vhost_user::serve(device, ours, Arc::default())?;
    fcntl_setfd(&theirs, FdFlags::empty())?;
    let fd = theirs.as_raw_fd().to_string();
    let args = args.map(|arg| OsString::from(arg.to_string_lossy().replace("{fd}", &fd)));
    let mut child = Command::new(program).args(args).spawn()?;
    drop(theirs);
    child.wait()?;
    handle.wait()?;
    Ok(())
}
