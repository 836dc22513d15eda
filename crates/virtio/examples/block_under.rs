//! Lends a block device to the program that is started, for trying it out under another VMM.
//!
//! `block_under FILE COMMAND...`: COMMAND is started with the front-end's end of the vhost-user connection in place of
//! every `{fd}` in its arguments. Ends when COMMAND has ended. For QEMU, guest memory must be a shared memory file:
//!
//! ```text
//! block_under disk.raw qemu-system-x86_64 -object memory-backend-memfd,id=ram,size=512M,share=on
//!     -machine q35,memory-backend=ram -chardev socket,id=c0,fd={fd} -device vhost-user-blk-pci,chardev=c0 ...
//! ```

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;

use cenote_virtio::block::{Block, BlockSpec};
use cenote_virtio::vhost_user;
use rustix::io::{FdFlags, fcntl_setfd};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = env::args_os().skip(1);
    let path = PathBuf::from(args.next().ok_or("no FILE given")?);
    let program = args.next().ok_or("no COMMAND given")?;
    let (ours, theirs) = UnixStream::pair()?;
    let device = Block::new(&BlockSpec {
        path,
        read_only: false,
        ephemeral: false,
        queues: 16,
        id: "cenote".into(),
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
