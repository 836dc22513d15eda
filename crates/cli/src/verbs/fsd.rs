//! `cenote fsd`: our file server as a process of its own, for other VMMs.

use std::fs;
use std::io;
use std::os::fd::{FromRawFd, RawFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, bail};
use cenote_fuse::passthrough::{Cache, Config, Ids, Locks, Owner, Passthrough, Readdirplus};
use cenote_fuse::server::Server;
use cenote_virtio::fs::{Fs, FsSpec, MAX_QUEUES};
use cenote_virtio::vhost_user;
use clap::{Args, ValueEnum};
use rustix::net::sockopt;
use rustix::process::{getegid, geteuid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::flags::xattrmap::XattrMapFlag;

/// Serve a directory to another VMM over vhost-user, until that VMM ends
///
/// The VMM mounts it as a virtio-fs device; QEMU, for example, by
/// `-object memory-backend-memfd,id=ram,size=1G,share=on -machine q35,memory-backend=ram
/// -chardev socket,id=fs,path=SOCKET -device vhost-user-fs-pci,chardev=fs,tag=TAG,queue-size=512`.
#[derive(Debug, Args)]
pub struct Fsd {
    /// The directory
    #[arg(long, value_name = "DIRECTORY")]
    shared_dir: PathBuf,
    /// Where to make the Unix socket at which the VMM connects
    #[arg(
        long,
        visible_alias = "socket",
        value_name = "PATH",
        required_unless_present = "fd"
    )]
    socket_path: Option<PathBuf>,
    /// An inherited Unix socket that listens, instead of one at a path
    #[arg(long, value_name = "NUMBER", conflicts_with = "socket_path")]
    fd: Option<RawFd>,
    /// The name to mount it by, for VMMs that ask for it (QEMU has its own `tag=`)
    #[arg(long, value_name = "NAME", default_value = "share")]
    tag: String,
    /// The most request queues that a VMM may use; each has a thread
    #[arg(long, value_name = "NUMBER", default_value_t = MAX_QUEUES, value_parser = clap::value_parser!(u16).range(1..=i64::from(MAX_QUEUES)))]
    queues: u16,
    /// What the guest may keep
    #[arg(long, value_enum, value_name = "WHAT", default_value = "auto")]
    cache: CacheWord,
    /// Refuse whatever would change something
    #[arg(long)]
    readonly: bool,
    /// Whom files belong to: `none` leaves ids as they are (needs root); with `owner`, the files of the user who runs this are
    /// root's in the guest, and others nobody's [default: none for root, owner for others]
    #[arg(long, value_enum, value_name = "HOW")]
    idmap: Option<IdMapWord>,
    /// Where locks are held: in the guest, or on the host among all who use the files
    #[arg(long, value_enum, value_name = "WHERE", default_value = "local")]
    locks: LocksWord,
    /// Under which names extended attributes are kept, as rules like `:map::user.virtiofs.:`
    #[arg(long, value_name = "RULES")]
    xattrmap: Option<XattrMapFlag>,
    /// Never look entries up while a directory is listed
    #[arg(long)]
    no_readdirplus: bool,
    /// Let the guest collect writes: only for a directory that nobody else changes
    #[arg(long)]
    writeback: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CacheWord {
    Never,
    Metadata,
    Auto,
    Always,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IdMapWord {
    None,
    Owner,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LocksWord {
    Local,
    Host,
}

impl Fsd {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let directory = Passthrough::new(&self.shared_dir, self.config())?;
        let device = Fs::new(FsSpec {
            tag: self.tag,
            queues: self.queues,
            server: Arc::new(Server::new(directory)),
        })?;
        let (listener, _socket) = match (self.socket_path, self.fd) {
            (Some(path), _) => {
                let (listener, socket) = listen(path)?;
                (listener, Some(socket))
            }
            (None, Some(number)) => (inherited(number)?, None),
            (None, None) => bail!("no socket: give --socket-path or --fd"),
        };
        let (vmm, _) = listener.accept().context("no VMM can connect")?;
        vhost_user::serve(Box::new(device), vmm, Arc::default())?.wait()?;
        Ok(ExitCode::SUCCESS)
    }

    fn config(&self) -> Config {
        let (user, group) = (geteuid(), getegid());
        let idmap = self.idmap.unwrap_or(if user.is_root() {
            IdMapWord::None
        } else {
            IdMapWord::Owner
        });
        let defaults = Config::default();
        Config {
            read_only: self.readonly,
            cache: match self.cache {
                CacheWord::Never => Cache::Never,
                CacheWord::Metadata => Cache::Metadata,
                CacheWord::Auto => Cache::Auto,
                CacheWord::Always => Cache::Always,
            },
            ids: match idmap {
                IdMapWord::None => Ids::Same,
                IdMapWord::Owner => Ids::Owner(Owner::of(user.as_raw(), group.as_raw())),
            },
            locks: match self.locks {
                LocksWord::Local => Locks::Local,
                LocksWord::Host => Locks::Host,
            },
            xattrs: self.xattrmap.clone().map_or(defaults.xattrs, |map| map.0),
            writeback: self.writeback,
            readdirplus: if self.no_readdirplus {
                Readdirplus::Never
            } else {
                defaults.readdirplus
            },
            ..Config::default()
        }
    }
}

/// A socket's path, removed when it is dropped.
struct SocketPath(PathBuf);

impl Drop for SocketPath {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = fs::remove_file(&self.0);
    }
}

/// Makes the socket, in place of one at which nobody listens any more. It goes when this process is asked to end.
fn listen(path: PathBuf) -> anyhow::Result<(UnixListener, SocketPath)> {
    let failed = || format!("cannot make the socket {}", path.display());
    let listener = match UnixListener::bind(&path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if let Some(there) = still_used(&path) {
                bail!(
                    "{}: {there}; give another --socket-path, or remove it first",
                    failed()
                );
            }
            fs::remove_file(&path).with_context(failed)?;
            UnixListener::bind(&path)
        }
        bound => bound,
    }
    .with_context(failed)?;
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let socket = path.clone();
    thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            if let Some(signal) = signals.forever().next() {
                drop(SocketPath(socket));
                process::exit(128 + signal);
            }
        })?;
    Ok((listener, SocketPath(path)))
}

/// What is there, unless it is a socket at which nobody listens. Connecting to a file of another kind is refused as well.
fn still_used(path: &Path) -> Option<&'static str> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Some("something that is no socket is there already");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => None,
        _ => Some("somebody serves at this socket already"),
    }
}

/// The listening socket that was inherited as `number`.
fn inherited(number: RawFd) -> anyhow::Result<UnixListener> {
    // Descriptors 0 to 2 have other owners in this process.
    if number <= 2 {
        bail!("--fd {number} is no socket that was handed over");
    }
    // SAFETY: nothing in this process has opened a descriptor and kept its bare number; what was inherited is ours.
    let listener = unsafe { UnixListener::from_raw_fd(number) };
    if !sockopt::socket_acceptconn(&listener).unwrap_or(false) {
        // Not ours to close, if it is open at all.
        std::mem::forget(listener);
        bail!("--fd {number} is no socket that listens");
    }
    Ok(listener)
}

#[cfg(test)]
#[path = "fsd_test.rs"]
mod tests;
