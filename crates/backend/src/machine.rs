//! The description of a machine, and what a running one can be asked.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use cenote_fuse::server::Server;
use cenote_virtio::fs::{Fs, FsError, FsSpec};

/// The context identifier of every guest: each has a vsock device of its own, so none can meet another's.
pub const GUEST_CID: u64 = 3;

/// Everything that a backend needs to start one virtual machine.
///
/// A device exists only when the description names it.
#[derive(Debug)]
pub struct Machine {
    /// An uncompressed x86-64 ELF kernel with the PVH entry note.
    pub kernel: PathBuf,
    /// The initial RAM file system, a newc cpio archive.
    pub initramfs: PathBuf,
    /// The kernel's command line, without the console, which the backend chooses.
    pub command_line: String,
    /// Number of virtual CPUs, at least 1.
    pub cpus: u32,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// Whether the guest can run virtual machines of its own: its processor then has SVM or VMX.
    pub nested: bool,
    /// Images that the guest maps, `/dev/pmem0` first.
    pub pmem: Vec<Pmem>,
    /// Block devices, `/dev/vda` first.
    pub disks: Vec<Disk>,
    /// Directories of the host that the guest mounts by virtio-fs.
    pub shares: Vec<Share>,
    /// The Unix socket of the host's end of vsock; `<path>_<port>` are those that the guest reaches.
    pub vsock: PathBuf,
    /// The stream of length-prefixed Ethernet frames of the only network card, if there is one.
    pub network: Option<Network>,
    /// Where the backend's own messages go.
    pub log: File,
}

/// Files that the guest maps read-only, back to back, instead of copying them: the pieces of one image.
///
/// They become one virtio-pmem device, or one for each file: [`crate::Backend::pmem_devices`].
#[derive(Debug, Clone)]
pub struct Pmem {
    /// The files; the length of each is a multiple of 2 MiB.
    pub files: Vec<PathBuf>,
}

/// One block device over a raw file.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The file; its length is the disk's size.
    pub path: PathBuf,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether nobody reads the file after the machine's end, so that nothing need ever be flushed to it.
    pub ephemeral: bool,
}

/// One directory of the host, on a virtio-fs device of its own.
#[derive(Debug, Clone)]
pub struct Share {
    /// The name by which the guest mounts it, 1 to [`TAG_LEN`](cenote_virtio::fs::TAG_LEN) bytes.
    pub tag: String,
    /// What carries the guest's requests out.
    pub server: Arc<Server>,
}

impl Share {
    /// The device of a machine with `cpus` processors.
    pub(crate) fn device(self, cpus: u32) -> Result<Fs, FsError> {
        Fs::new(FsSpec {
            tag: self.tag,
            queues: u16::try_from(cpus).unwrap_or(u16::MAX),
            server: self.server,
        })
    }
}

/// One network card.
#[derive(Debug)]
pub struct Network {
    /// A connected stream socket on which each frame follows its length (32 bits, big endian).
    pub stream: OwnedFd,
    /// The card's hardware address.
    pub mac: [u8; 6],
    /// The largest packet in bytes, without the Ethernet header.
    pub mtu: u16,
}

/// Why a machine is no longer running.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// The guest powered off, or [`Vm::kill`] was called.
    Off,
    /// The guest asked for a reset, or had to be reset by a triple fault: kernels do both when they cannot go on.
    Reset,
    /// The machine cannot go on, or what runs it failed; the text says why.
    Failed(String),
}

/// A running machine.
///
/// It ends with the process that started it, whatever way that process ends.
pub trait Vm: std::fmt::Debug + Send + Sync {
    /// Blocks until the machine has stopped. Any number of threads may wait.
    fn wait(&self) -> Stopped;

    /// Stops the machine at once, as pulling the plug does. Does nothing to one that has stopped.
    fn kill(&self);

    /// Stops the guest's processors where they are, until [`Self::resume`]: nothing of it runs. One that is paused
    /// already stays so.
    ///
    /// # Errors
    /// When the machine has ended or does not obey.
    fn pause(&self) -> io::Result<()>;

    /// Lets the processors go on. One that is not paused goes on as it does.
    ///
    /// # Errors
    /// As [`Self::pause`].
    fn resume(&self) -> io::Result<()>;

    /// The machine's console output, from the first byte. Can be taken once.
    fn console(&self) -> Option<File>;
}
