//! The description of a machine.

use std::fs::File;
use std::os::fd::OwnedFd;

use cenote_virtio::device::Device;

/// Everything that makes up one virtual machine. A device exists only when it is named here.
pub struct VmSpec {
    /// Number of virtual CPUs, at least 1.
    pub cpus: u32,
    /// Guest RAM in bytes.
    pub memory: u64,
    /// An uncompressed ELF kernel (vmlinux) or a bzImage.
    pub kernel: File,
    /// The initial RAM file system, if there is one.
    pub initramfs: Option<File>,
    /// The kernel's command line, all of it.
    pub command_line: String,
    /// Files that the guest maps, `/dev/pmem0` first.
    pub pmem: Vec<PmemSpec>,
    /// The other devices, in the order in which the guest finds them.
    pub devices: Vec<Box<dyn Device>>,
    /// Where the guest's messages of the time before its drivers go: the output of a serial port.
    pub serial: Option<OwnedFd>,
    /// Whether the guest may run virtual machines of its own.
    pub nested: bool,
}

/// One virtio-pmem device: files back to back, in one piece of guest-physical memory.
#[derive(Debug)]
pub struct PmemSpec {
    /// The files; each one's length is a multiple of 2 MiB.
    pub files: Vec<PmemFile>,
    /// Whether the guest may write to them. What it flushes is on the disk.
    pub writable: bool,
}

/// A file below a virtio-pmem device.
#[derive(Debug)]
pub struct PmemFile {
    /// The file, open for reading, and for writing if the device is writable.
    pub file: File,
    /// How messages name it.
    pub name: String,
}
