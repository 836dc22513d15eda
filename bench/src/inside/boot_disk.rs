//! Runs in the lab: boots a kernel of ours on KVM with one disk, and prints what the guest says early.
//!
//!   boot_disk MEMORY_MIB KERNEL INITRAMFS 'COMMAND LINE' DISK

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use anyhow::{Context, bail};
use cenote_virtio::block::{Block, BlockSpec};
use cenote_vmm::{Exit, Vm, VmSpec};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [memory, kernel, initramfs, command_line, disk] = arguments.as_slice() else {
        bail!("boot_disk takes five arguments");
    };
    let open = |path: &String| File::open(path).with_context(|| format!("cannot open {path}"));
    let disk = Block::new(&BlockSpec {
        path: disk.into(),
        read_only: false,
        ephemeral: false,
        queues: 1,
        id: "disk".to_owned(),
    })?;
    let vm = Vm::start(VmSpec {
        cpus: 1,
        memory: memory.parse::<u64>()? << 20,
        kernel: open(kernel)?,
        initramfs: Some(open(initramfs)?),
        command_line: command_line.clone(),
        pmem: Vec::new(),
        devices: vec![Box::new(disk)],
        serial: Some(io::stdout().as_fd().try_clone_to_owned()?),
        nested: false,
    })?;
    match vm.wait() {
        Exit::PowerOff | Exit::Reset => Ok(()),
        exit => bail!("the machine ended: {exit:?}"),
    }
}
