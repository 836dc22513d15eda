//! A virtual CPU and the thread that runs it.

use std::io;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use kvm_bindings::KVM_INTERNAL_ERROR_DELIVERY_EV;
use kvm_ioctls::{VcpuExit, VcpuFd};

use crate::control::Seat;
use crate::exit::{Crash, Exit};
use crate::vm::Machine;

/// What a vCPU does after an exit.
enum Next {
    Enter,
    Ask,
    End(Exit),
}

/// Starts the thread of CPU number `cpu`.
pub fn start(cpu: u32, machine: Arc<Machine>) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("vcpu{cpu}"))
        .spawn(move || run(cpu, &machine))
}

/// The thread keeps the vCPU to itself while the guest may run, and gives it back while the machine is paused.
fn run(cpu: u32, machine: &Machine) {
    let vcpu = &machine.vcpus[cpu as usize];
    let lock = || vcpu.lock().unwrap_or_else(PoisonError::into_inner);
    let immediate_exit = &raw mut lock().get_kvm_run().immediate_exit;
    let seat = Seat::take(&machine.control, immediate_exit);
    while seat.may_run() {
        let mut vcpu = Vcpu {
            cpu,
            vcpu: lock(),
            machine,
        };
        // Tells the guest's watchdog that the time that has passed was not its own. Refused until the guest has a clock of
        // KVM's, when it has no watchdog yet.
        let _ = vcpu.vcpu.kvmclock_ctrl();
        if let Next::End(exit) = vcpu.run_until_called() {
            machine.control.end(exit);
        }
    }
}

struct Vcpu<'a> {
    cpu: u32,
    vcpu: MutexGuard<'a, VcpuFd>,
    machine: &'a Machine,
}

impl Vcpu<'_> {
    fn run_until_called(&mut self) -> Next {
        loop {
            match self.enter() {
                Next::Enter => {}
                next => return next,
            }
        }
    }

    fn enter(&mut self) -> Next {
        let exit = match self.vcpu.run() {
            Ok(exit) => exit,
            Err(error) => return self.refused(error.errno()),
        };
        match exit {
            VcpuExit::MmioWrite(address, data) => {
                self.machine.devices.write(address, data);
                Next::Enter
            }
            // Registers are read without an exit; nothing else is there.
            VcpuExit::MmioRead(_, data) => {
                data.fill(0xff);
                Next::Enter
            }
            VcpuExit::IoOut(port, data) => match self.machine.ports.write(port, data) {
                Some(exit) => Next::End(exit),
                None => Next::Enter,
            },
            VcpuExit::IoIn(port, data) => {
                self.machine.ports.read(port, data);
                Next::Enter
            }
            VcpuExit::Intr => Next::Ask,
            VcpuExit::MemoryFault { .. } => self.fault(),
            VcpuExit::Shutdown => self.crash(|cpu, rip| Crash::TripleFault { cpu, rip }),
            VcpuExit::FailEntry(reason, _) => self.crash(|cpu, _| Crash::Entry { cpu, reason }),
            VcpuExit::InternalError => self.internal_error(),
            exit => {
                let exit = format!("{exit:?}");
                self.crash(|cpu, _| Crash::Unexpected { cpu, exit })
            }
        }
    }

    fn refused(&mut self, errno: i32) -> Next {
        match errno {
            libc::EINTR | libc::EAGAIN => {
                self.vcpu.set_kvm_immediate_exit(0);
                Next::Ask
            }
            libc::EFAULT => self.fault(),
            errno => self.crash(|cpu, _| Crash::Run { cpu, errno }),
        }
    }

    /// KVM cannot go on, or believes so: an emulated SVM leaves the type of an exception that was delivered long ago in
    /// EXITINTINFO, and KVM, which looks at nothing but the type, will not emulate a write to a device in the middle of a
    /// delivery. If it knows of no event to deliver again there is none, and entering again clears the field.
    fn internal_error(&mut self) -> Next {
        // SAFETY: KVM fills this member of the union for this exit reason.
        let suberror = unsafe { self.vcpu.get_kvm_run().__bindgen_anon_1.internal.suberror };
        let delivers = || {
            let events = self.vcpu.get_vcpu_events();
            events.map_or(true, |events| {
                events.exception.injected | events.interrupt.injected | events.nmi.injected != 0
            })
        };
        if suberror == KVM_INTERNAL_ERROR_DELIVERY_EV && !delivers() {
            Next::Enter
        } else {
            self.crash(|cpu, rip| Crash::Internal { cpu, rip, suberror })
        }
    }

    /// KVM could not get a page. A file that became shorter explains it and is mended; nothing else is.
    fn fault(&mut self) -> Next {
        if self.machine.memory.cover_shortened_files() {
            Next::Enter
        } else {
            self.crash(|cpu, rip| Crash::Memory { cpu, rip })
        }
    }

    fn crash(&self, crash: impl FnOnce(u32, u64) -> Crash) -> Next {
        let rip = self.vcpu.get_regs().map_or(0, |registers| registers.rip);
        Next::End(Exit::Crashed(crash(self.cpu, rip)))
    }
}
