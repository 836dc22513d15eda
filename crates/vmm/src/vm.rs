//! A running machine and its handle.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use cenote_virtio::device::Device;
use cenote_virtio::pmem::{Pmem, PmemError, PmemSpec as PmemDevice};
use kvm_ioctls::{Kvm, VcpuFd, VmFd};

use crate::arch::{self, Boot, Platform, PlatformState, Ports, VcpuState};
use crate::control::{self, Control};
use crate::devices::{self, Devices};
use crate::exit::Exit;
use crate::memory::{self, Memory};
use crate::spec::VmSpec;
use crate::state::VmState;
use crate::vcpu;

/// Why a machine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// /dev/kvm cannot be used.
    #[error("cannot use /dev/kvm: {0}; `cenote doctor` tells more")]
    Kvm(kvm_ioctls::Error),
    /// KVM gives no machine or no CPU.
    #[error("KVM cannot make {what}: {source}")]
    Make {
        /// What it was to make.
        what: String,
        /// KVM's reason.
        source: kvm_ioctls::Error,
    },
    /// So many CPUs are not possible.
    #[error("{cpus} CPUs are not possible: give 1 to {limit}")]
    Cpus {
        /// How many were asked for.
        cpus: u32,
        /// How many are possible.
        limit: u32,
    },
    /// The memory cannot be made.
    #[error(transparent)]
    Memory(#[from] memory::Error),
    /// A virtio-pmem device cannot be made.
    #[error(transparent)]
    Pmem(#[from] PmemError),
    /// The devices cannot be attached.
    #[error(transparent)]
    Devices(#[from] devices::Error),
    /// Processors, tables or the kernel.
    #[error(transparent)]
    Arch(#[from] arch::Error),
    /// No threads or signals.
    #[error("cannot start the machine's threads: {0}; check the limit on threads")]
    Threads(io::Error),
}

/// Why a machine cannot be saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// It has ended.
    #[error("the machine has ended")]
    Ended(#[from] io::Error),
    /// KVM does not tell a part of its state.
    #[error(transparent)]
    Arch(#[from] arch::Error),
}

/// What every thread of a machine shares. The fields are dropped in this order: nobody uses memory after it is unmapped.
pub(crate) struct Machine {
    pub control: Control,
    pub devices: Devices,
    pub ports: Ports,
    pub vcpus: Vec<Mutex<VcpuFd>>,
    vm: VmFd,
    pub memory: Memory,
}

/// A virtual machine. Dropping it ends the machine at once, as pulling the plug does.
pub struct Vm {
    machine: Arc<Machine>,
    kvm: Kvm,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Vm {
    /// Makes the machine and starts it.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left then.
    pub fn start(spec: VmSpec) -> Result<Self, StartError> {
        let vm = Self::paused(spec)?;
        vm.machine.control.resume();
        Ok(vm)
    }

    fn paused(spec: VmSpec) -> Result<Self, StartError> {
        let VmSpec {
            cpus,
            memory,
            mut kernel,
            mut initramfs,
            command_line,
            pmem,
            devices,
            serial,
            nested,
        } = spec;
        control::install_handler().map_err(StartError::Threads)?;
        let kvm = Kvm::new().map_err(StartError::Kvm)?;
        let limit = u32::try_from(kvm.get_max_vcpus())
            .unwrap_or(u32::MAX)
            .min(arch::MAX_CPUS);
        if cpus == 0 || cpus > limit {
            return Err(StartError::Cpus { cpus, limit });
        }
        let platform = Platform::new(&kvm, cpus, nested)?;
        let make = |what: &str| {
            let what = what.to_owned();
            move |source| StartError::Make { what, source }
        };
        let vm = kvm.create_vm().map_err(make("a virtual machine"))?;
        platform.set_up_vm(&vm)?;
        let count = pmem.len() + devices.len();
        let memory = Memory::new(memory, pmem, count, platform.address_limit())?;
        memory.register(&vm)?;
        let mut all = memory
            .pmem()
            .iter()
            .map(announce)
            .collect::<Result<Vec<_>, _>>()?;
        all.extend(devices);
        let devices = Devices::attach(&vm, &memory, all)?;
        let boot = Boot {
            kernel: &mut kernel,
            initramfs: initramfs.as_mut(),
            command_line: &command_line,
        };
        let entry = arch::load(&memory, boot, cpus, devices.slots())?;
        let vcpus = (0..cpus)
            .map(|cpu| {
                let vcpu = vm
                    .create_vcpu(cpu.into())
                    .map_err(make(&format!("CPU {cpu}")))?;
                platform.set_up_vcpu(&vcpu, cpu, entry)?;
                Ok(Mutex::new(vcpu))
            })
            .collect::<Result<Vec<_>, StartError>>()?;
        let this = Self {
            machine: Arc::new(Machine {
                control: Control::new(),
                devices,
                ports: Ports::new(serial),
                vcpus,
                vm,
                memory,
            }),
            kvm,
            threads: Mutex::default(),
        };
        for cpu in 0..cpus {
            let thread =
                vcpu::start(cpu, Arc::clone(&this.machine)).map_err(StartError::Threads)?;
            this.machine.control.seated(cpu as usize + 1);
            this.threads().push(thread);
        }
        Ok(this)
    }

    /// Stops the machine at once, as pulling the plug does. Does nothing to one that has ended.
    pub fn stop(&self) {
        self.machine.control.end(Exit::Stopped);
    }

    /// Blocks until the machine has ended. Any number of threads may wait.
    pub fn wait(&self) -> Exit {
        let exit = self.machine.control.wait();
        self.machine.devices.reset();
        exit
    }

    /// Calls all CPUs out of the guest, then stops all devices. Returns when nothing of the guest runs any more.
    ///
    /// # Errors
    /// When the machine has ended.
    pub fn pause(&self) -> io::Result<()> {
        if !self.machine.control.pause() {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.machine.devices.pause();
        Ok(())
    }

    /// Goes on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// When a device cannot start again; the machine then stays paused.
    pub fn resume(&self) -> Result<(), cenote_virtio::mmio::StartError> {
        self.machine.devices.resume()?;
        self.machine.control.resume();
        Ok(())
    }

    /// What a snapshot must keep beside RAM and files. The machine is paused for it and stays so.
    ///
    /// # Errors
    /// When the machine has ended, or KVM does not tell a part of it.
    pub fn save(&self) -> Result<VmState, SaveError> {
        self.pause()?;
        let machine = &self.machine;
        let vcpus = machine.vcpus.iter().map(|vcpu| {
            let vcpu = vcpu.lock().unwrap_or_else(PoisonError::into_inner);
            VcpuState::save(&self.kvm, &vcpu)
        });
        Ok(VmState {
            vcpus: vcpus.collect::<Result<_, _>>()?,
            platform: PlatformState::save(&machine.vm)?,
            devices: machine.devices.save(),
        })
    }

    fn threads(&self) -> std::sync::MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads().drain(..) {
            // Its panic has been reported as the machine's end.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vm").finish_non_exhaustive()
    }
}

fn announce(pmem: &memory::Pmem) -> Result<Box<dyn Device>, StartError> {
    let files = |file: &crate::PmemFile| file.file.try_clone();
    let writable = if pmem.writable {
        pmem.files()
            .map(files)
            .collect::<io::Result<Vec<File>>>()
            .map_err(StartError::Threads)?
    } else {
        Vec::new()
    };
    let device = Pmem::new(PmemDevice {
        start: pmem.address,
        size: pmem.size(),
        writable,
    })?;
    Ok(Box::new(device))
}
