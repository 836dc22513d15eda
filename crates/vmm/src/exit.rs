//! Why a machine no longer runs.

use std::io;

use kvm_bindings::{KVM_INTERNAL_ERROR_DELIVERY_EV, KVM_INTERNAL_ERROR_EMULATION};

/// How a machine's run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// The guest powered off.
    PowerOff,
    /// The guest asked for a reset, which a kernel also does when it panics.
    Reset,
    /// [`Vm::stop`](crate::Vm::stop) was called.
    Stopped,
    /// The machine cannot go on.
    Crashed(Crash),
}

/// Why a machine cannot go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Crash {
    /// The processor met an exception while it handled one while it handled one.
    #[error("the guest's CPU {cpu} shut down by a triple fault at {rip:#x}")]
    TripleFault {
        /// Which virtual CPU.
        cpu: u32,
        /// Its instruction pointer.
        rip: u64,
    },
    /// KVM met something that it cannot emulate (`KVM_EXIT_INTERNAL_ERROR`).
    #[error("KVM cannot go on with the guest's CPU {cpu} at {rip:#x} (internal error {suberror}{})", meaning(*suberror))]
    Internal {
        /// Which virtual CPU.
        cpu: u32,
        /// Its instruction pointer.
        rip: u64,
        /// KVM's kind of internal error.
        suberror: u32,
    },
    /// The processor refused the guest's state (`KVM_EXIT_FAIL_ENTRY`).
    #[error("the processor refused to enter the guest's CPU {cpu} (hardware reason {reason:#x})")]
    Entry {
        /// Which virtual CPU.
        cpu: u32,
        /// The hardware's code.
        reason: u64,
    },
    /// A page of guest memory cannot be had (`EFAULT` of `KVM_RUN`), and no shortened file explains it.
    #[error(
        "a page of the guest's memory cannot be had on its CPU {cpu} at {rip:#x}; is the host out of memory?"
    )]
    Memory {
        /// Which virtual CPU.
        cpu: u32,
        /// Its instruction pointer.
        rip: u64,
    },
    /// `KVM_RUN` failed otherwise.
    #[error("KVM_RUN of the guest's CPU {cpu} failed: {}", io::Error::from_raw_os_error(*errno))]
    Run {
        /// Which virtual CPU.
        cpu: u32,
        /// The error number.
        errno: i32,
    },
    /// A thread of the machine has panicked.
    #[error("a thread of the virtual machine has panicked; this is a defect, see the log")]
    Defect,
    /// An exit that nothing should cause.
    #[error("the guest's CPU {cpu} left for a reason that nothing here causes: {exit}")]
    Unexpected {
        /// Which virtual CPU.
        cpu: u32,
        /// KVM's name of it.
        exit: String,
    },
}

/// What a kind of internal error means to whoever runs the machine.
fn meaning(suberror: u32) -> &'static str {
    match suberror {
        KVM_INTERNAL_ERROR_EMULATION => ": an instruction that it cannot emulate",
        // Seen with two processors, once, after minutes of work; not with one.
        KVM_INTERNAL_ERROR_DELIVERY_EV => {
            ": an interrupt that it cannot deliver; if this host's processor is emulated itself, try a machine with one CPU"
        }
        _ => "",
    }
}

#[cfg(test)]
#[path = "exit_test.rs"]
mod tests;
