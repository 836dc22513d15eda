//! A machine in this process, on /dev/kvm.
//!
//! The devices are ours, on virtio-mmio; the images lie back to back in one virtio-pmem. [`probe`] tells whether this
//! host's /dev/kvm runs ordinary kernels at all.

pub mod probe;

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cenote_virtio::block::{Block, BlockError, BlockSpec};
use cenote_virtio::console::{Console, ConsoleError, ConsoleSpec};
use cenote_virtio::device::Device;
use cenote_virtio::fs::FsError;
use cenote_virtio::net::{Net, NetError, NetSpec};
use cenote_virtio::vsock::{Vsock, VsockSpec};
use cenote_vmm::{Exit, PmemFile, PmemSpec, VmSpec};

use crate::machine::{GUEST_CID, Machine, Network, Stopped, Vm};

/// What the kernel's command line gets here: no PCI bus to look for, no serial ports but for messages from before the
/// console is found, and an end by the machine's own register.
const PARAMETERS: &str =
    "pci=off 8250.nr_uarts=0 earlyprintk=serial,0x3f8,115200 console=hvc0 reboot=acpi";

/// Why a machine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the machine cannot be opened.
    #[error("cannot open {path}: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// No socket for the console.
    #[error("cannot make a socket for the console: {0}; check the limit on open files")]
    Socket(#[from] io::Error),
    /// The console could not be made.
    #[error(transparent)]
    Console(#[from] ConsoleError),
    /// A disk could not be made.
    #[error(transparent)]
    Disk(#[from] BlockError),
    /// The network card could not be made.
    #[error(transparent)]
    Network(#[from] NetError),
    /// A share's device could not be made.
    #[error(transparent)]
    Share(#[from] FsError),
    /// The vsock device could not be made.
    #[error(transparent)]
    Vsock(#[from] cenote_virtio::vsock::VsockError),
    /// The machine itself.
    #[error(transparent)]
    Machine(#[from] cenote_vmm::StartError),
}

/// Starts `machine` in this process.
///
/// # Errors
/// See [`Error`].
pub fn start(mut machine: Machine) -> Result<Box<dyn Vm>, Error> {
    let (console, output) = UnixStream::pair()?;
    let devices = devices(&mut machine, output.try_clone()?.into())?;
    let pmem = machine.pmem.into_iter().map(|pmem| {
        let files = pmem.files.into_iter().map(mapped);
        Ok(PmemSpec {
            files: files.collect::<Result<_, Error>>()?,
            writable: false,
        })
    });
    let vm = cenote_vmm::Vm::start(VmSpec {
        cpus: machine.cpus,
        memory: machine.memory,
        kernel: open(&machine.kernel)?,
        initramfs: Some(open(&machine.initramfs)?),
        command_line: format!("{} {PARAMETERS}", machine.command_line),
        pmem: pmem.collect::<Result<_, Error>>()?,
        devices,
        serial: Some(output.try_clone()?.into()),
        nested: machine.nested,
    })?;
    Ok(Box::new(InProcess {
        vm,
        output,
        console: Mutex::new(Some(File::from(OwnedFd::from(console)))),
    }))
}

fn open(path: &Path) -> Result<File, Error> {
    File::open(path).map_err(|source| Error::Open {
        path: path.to_owned(),
        source,
    })
}

fn mapped(path: PathBuf) -> Result<PmemFile, Error> {
    Ok(PmemFile {
        file: open(&path)?,
        name: path.display().to_string(),
    })
}

/// The devices in the order in which the guest finds them.
fn devices(machine: &mut Machine, output: OwnedFd) -> Result<Vec<Box<dyn Device>>, Error> {
    let vsock = Vsock::new(&VsockSpec {
        guest_cid: GUEST_CID,
        socket: machine.vsock.clone(),
    })?;
    let console = Console::new(ConsoleSpec {
        output,
        input: None,
    })?;
    let mut devices: Vec<Box<dyn Device>> = vec![Box::new(vsock), Box::new(console)];
    for (index, disk) in machine.disks.iter().enumerate() {
        devices.push(Box::new(Block::new(&BlockSpec {
            path: disk.path.clone(),
            read_only: disk.read_only,
            ephemeral: disk.ephemeral,
            queues: u16::try_from(machine.cpus).unwrap_or(u16::MAX),
            id: format!("disk{index}"),
        })?));
    }
    for share in mem::take(&mut machine.shares) {
        devices.push(Box::new(share.device(machine.cpus)?));
    }
    if let Some(Network { stream, mac, mtu }) = machine.network.take() {
        devices.push(Box::new(Net::new(NetSpec { stream, mac, mtu })?));
    }
    Ok(devices)
}

/// A machine of this process.
struct InProcess {
    vm: cenote_vmm::Vm,
    /// The end of the console into which the guest writes.
    output: UnixStream,
    console: Mutex<Option<File>>,
}

impl Vm for InProcess {
    fn wait(&self) -> Stopped {
        let exit = self.vm.wait();
        // Whoever records the console sees its end. It fails only if it is shut already.
        let _ = self.output.shutdown(Shutdown::Both);
        match exit {
            Exit::PowerOff | Exit::Stopped => Stopped::Off,
            Exit::Reset => Stopped::Reset,
            Exit::Crashed(crash) => Stopped::Failed(crash.to_string()),
        }
    }

    fn kill(&self) {
        self.vm.stop();
    }

    fn pause(&self) -> io::Result<()> {
        self.vm.pause()
    }

    fn resume(&self) -> io::Result<()> {
        self.vm.resume().map_err(io::Error::other)
    }

    fn console(&self) -> Option<File> {
        self.console
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcess").finish_non_exhaustive()
    }
}
