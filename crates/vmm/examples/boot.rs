//! Boots a kernel with an initramfs on KVM, prints what the guest says early, and how it ended.
//!
//!   boot CPUS MEMORY_MIB KERNEL INITRAMFS 'COMMAND LINE' [PMEM_FILE...]

use std::fs::File;
use std::os::fd::AsFd;
use std::process::ExitCode;

use cenote_vmm::{PmemFile, PmemSpec, Vm, VmSpec};

fn main() -> ExitCode {
    match run() {
        Ok(exit) => {
            eprintln!("ended: {exit:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("boot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<cenote_vmm::Exit, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("{what} is missing"));
    let cpus = next("CPUS")?.parse()?;
    let memory: u64 = next("MEMORY_MIB")?.parse()?;
    let kernel = File::open(next("KERNEL")?)?;
    let initramfs = Some(File::open(next("INITRAMFS")?)?);
    let command_line = next("COMMAND LINE")?;
    let pmem = arguments
        .map(|name| {
            let file = File::open(&name)?;
            Ok(PmemSpec {
                files: vec![PmemFile { file, name }],
                writable: false,
            })
        })
        .collect::<Result<Vec<_>, std::io::Error>>()?;
    let vm = Vm::start(VmSpec {
        cpus,
        memory: memory << 20,
        kernel,
        initramfs,
        command_line,
        pmem,
        devices: Vec::new(),
        serial: Some(std::io::stderr().as_fd().try_clone_to_owned()?),
        nested: false,
    })?;
    Ok(vm.wait())
}
