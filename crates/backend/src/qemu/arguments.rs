//! QEMU's command line for a machine.

use std::ffi::OsString;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use cenote_virtio::fs::{MAX_QUEUES, QUEUE_SIZE};

use super::images::{ALIGNMENT, Image};
use crate::machine::{Disk, Network};

/// The PCI slots of images, eight in each: below them is room for the other devices, above them is the board's own.
const PMEM_SLOTS: Range<usize> = 0x8..0x1f;

/// The PCI slots of shares, in front of the images'.
const SHARE_SLOTS: Range<usize> = 0x5..0x8;

/// Functions of one PCI slot.
const FUNCTIONS: usize = 8;

/// So many images are possible.
pub(super) const MAX_PMEM: usize = (PMEM_SLOTS.end - PMEM_SLOTS.start) * FUNCTIONS;

/// So many shares are possible.
pub(super) const MAX_SHARES: usize = (SHARE_SLOTS.end - SHARE_SLOTS.start) * FUNCTIONS;

/// Who executes the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accel {
    /// Hardware virtualization through /dev/kvm.
    Kvm,
    /// QEMU's own translator: any host, many times slower.
    Tcg,
}

/// What of a machine becomes arguments; lengths and descriptors are settled before.
pub(super) struct Plan<'a> {
    pub accel: Accel,
    pub cpus: u32,
    pub memory: u64,
    pub nested: bool,
    pub kernel: &'a Path,
    pub initramfs: &'a Path,
    pub command_line: &'a str,
    pub images: &'a [Image],
    pub disks: &'a [Disk],
    /// Each share's tag and the socket of its device.
    pub shares: &'a [(&'a str, BorrowedFd<'a>)],
    pub vsock: BorrowedFd<'a>,
    pub control: BorrowedFd<'a>,
    pub network: Option<&'a Network>,
}

impl Plan<'_> {
    /// The arguments after the program's name.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut line = Line::default();
        self.machine(&mut line);
        self.boot(&mut line);
        for (index, image) in self.images.iter().enumerate() {
            pmem(&mut line, index, image);
        }
        for (index, disk) in self.disks.iter().enumerate() {
            block(&mut line, index, disk);
        }
        for (index, (tag, socket)) in self.shares.iter().enumerate() {
            self.share(&mut line, index, tag, *socket);
        }
        self.vsock(&mut line);
        self.control(&mut line);
        if let Some(network) = self.network {
            card(&mut line, network);
        }
        line.0
    }

    fn machine(&self, line: &mut Line) {
        let (accel, cpu) = match (self.accel, self.nested) {
            // The host's processor has what its KVM allows to be nested.
            (Accel::Kvm, true) => ("kvm", "host"),
            (Accel::Kvm, false) => ("kvm", "host,-svm,-vmx"),
            (Accel::Tcg, true) => ("tcg,thread=multi", "max,+svm,+npt"),
            (Accel::Tcg, false) => ("tcg,thread=multi", "max,-svm"),
        };
        line.flag("-nodefaults")
            .flag("-no-user-config")
            .flag("-no-reboot");
        line.option("-display", "none");
        line.option(
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        );
        line.option(
            "-machine",
            "q35,memory-backend=ram,sata=off,smbus=off,i8042=off,usb=off,vmport=off,hpet=off,smm=off",
        );
        line.option("-accel", accel);
        line.option("-cpu", cpu);
        line.option("-smp", &self.cpus.to_string());
        let mapped: u64 = self.images.iter().map(|image| image.length).sum();
        let ceiling = (self.memory + mapped).next_multiple_of(ALIGNMENT);
        line.option(
            "-m",
            &format!(
                "size={}B,slots={},maxmem={ceiling}B",
                self.memory,
                self.images.len().max(1)
            ),
        );
        line.option(
            "-object",
            &format!("memory-backend-memfd,id=ram,size={},share=on", self.memory),
        );
    }

    fn boot(&self, line: &mut Line) {
        line.path("-kernel", self.kernel);
        line.path("-initrd", self.initramfs);
        line.option("-append", &format!("console=ttyS0 {}", self.command_line));
        line.option("-chardev", "stdio,id=console,signal=off");
        line.option("-device", "isa-serial,chardev=console");
    }

    fn control(&self, line: &mut Line) {
        line.option(
            "-chardev",
            &format!("socket,id=control,fd={}", self.control.as_raw_fd()),
        );
        line.option("-mon", "chardev=control,mode=control");
    }

    fn share(&self, line: &mut Line, index: usize, tag: &str, socket: BorrowedFd<'_>) {
        line.option(
            "-chardev",
            &format!("socket,id=share{index},fd={}", socket.as_raw_fd()),
        );
        let address = address(&SHARE_SLOTS, index);
        let queues = self.cpus.clamp(1, MAX_QUEUES.into());
        line.file(
            "-device",
            &format!(
                "vhost-user-fs-pci,chardev=share{index},{address},num-request-queues={queues},queue-size={QUEUE_SIZE},tag="
            ),
            Path::new(tag),
        );
    }

    fn vsock(&self, line: &mut Line) {
        line.option(
            "-chardev",
            &format!("socket,id=vsock,fd={}", self.vsock.as_raw_fd()),
        );
        line.option("-device", "vhost-user-vsock-pci,chardev=vsock");
    }
}

fn pmem(line: &mut Line, index: usize, image: &Image) {
    let length = image.length;
    line.file(
        "-object",
        &format!("memory-backend-file,id=image{index},share=on,readonly=on,size={length},align=2M,mem-path="),
        &image.path,
    );
    let slot = address(&PMEM_SLOTS, index);
    let memory = image.address;
    line.option(
        "-device",
        &format!("virtio-pmem-pci,id=pmem{index},memdev=image{index},memaddr={memory:#x},{slot}"),
    );
}

/// The place of device `index` in `slots`.
fn address(slots: &Range<usize>, index: usize) -> String {
    let (slot, function) = (slots.start + index / FUNCTIONS, index % FUNCTIONS);
    format!("addr={slot:#x}.{function},multifunction=on")
}

fn block(line: &mut Line, index: usize, disk: &Disk) {
    let switch = |on| if on { "on" } else { "off" };
    let (read_only, no_flush) = (switch(disk.read_only), switch(disk.ephemeral));
    line.file(
        "-blockdev",
        &format!("driver=raw,node-name=disk{index},read-only={read_only},discard=unmap,cache.no-flush={no_flush},file.driver=file,file.filename="),
        &disk.path,
    );
    line.option("-device", &format!("virtio-blk-pci,drive=disk{index}"));
}

fn card(line: &mut Line, network: &Network) {
    let fd = network.stream.as_raw_fd();
    line.option(
        "-netdev",
        &format!("stream,id=net,addr.type=fd,addr.str={fd}"),
    );
    let mac: Vec<String> = network
        .mac
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    line.option(
        "-device",
        &format!("virtio-net-pci,netdev=net,romfile=,mac={}", mac.join(":")),
    );
}

/// A command line under construction.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn flag(&mut self, name: &str) -> &mut Self {
        self.0.push(name.into());
        self
    }

    fn option(&mut self, name: &str, value: &str) {
        self.flag(name).flag(value);
    }

    fn path(&mut self, name: &str, path: &Path) {
        self.flag(name).0.push(path.into());
    }

    /// An option whose last key takes a file name, in which QEMU reads a doubled comma as one.
    fn file(&mut self, name: &str, keys: &str, path: &Path) {
        use std::os::unix::ffi::{OsStrExt, OsStringExt};
        let mut value = keys.as_bytes().to_vec();
        for &byte in path.as_os_str().as_bytes() {
            value.push(byte);
            if byte == b',' {
                value.push(byte);
            }
        }
        self.flag(name).0.push(OsString::from_vec(value));
    }
}

#[cfg(test)]
mod tests;
