//! The guest of the probe: one page-mapped vCPU in 64-bit mode and the instructions that it runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use kvm_bindings::{KVM_MAX_CPUID_ENTRIES, kvm_segment, kvm_userspace_memory_region};
use kvm_ioctls::{Kvm, VcpuExit, VcpuFd, VmFd};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::errno;
use vmm_sys_util::signal::{Killable, SIGRTMIN, register_signal_handler};

/// Where things lie in the guest's memory.
const PML4: u64 = 0x1000;
const PDPT: u64 = 0x2000;
const PD: u64 = 0x3000;
const CODE: u64 = 0x8000;
const STACK_TOP: u64 = 0xa000;
/// A word of 16 bytes that the code exchanges; the assembly names the address again.
const WORD: u64 = 0xb000;
const MEMORY: usize = 0x1_0000;

/// The code reports its steps here.
const PORT: u16 = 0x10;
/// More exits than the code can cause.
const MAX_EXITS: usize = 64;

/// How often a vCPU that does not return is signalled. A signal that comes before KVM_RUN is entered is lost, so one
/// is not enough.
const KICK_EVERY: Duration = Duration::from_millis(10);
/// How long a kicked vCPU gets to return; one that does not keeps its thread.
const KICK_FOR: Duration = Duration::from_secs(10);

/// What the guest reports after it has done it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// It runs in 64-bit mode.
    Started,
    /// A 16-byte compare-and-exchange, as kernels do it in their allocators.
    Exchanged,
    /// Control register 4 changed and read back.
    ControlRegister,
    /// A model-specific register written and read back.
    ModelRegister,
    /// Everything.
    Done,
}

impl Step {
    fn from_report(report: u8) -> Option<Self> {
        [
            Self::Started,
            Self::Exchanged,
            Self::ControlRegister,
            Self::ModelRegister,
            Self::Done,
        ]
        .into_iter()
        .find(|step| *step as u8 == report)
    }

    /// What the guest does after this step.
    pub(super) fn next_action(self) -> &'static str {
        match self {
            Self::Started => "cmpxchg16b",
            Self::Exchanged => "a write to control register 4",
            Self::ControlRegister => "rdmsr and wrmsr",
            Self::ModelRegister => "invlpg and a call",
            Self::Done => "hlt",
        }
    }
}

/// How the guest's run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    Halted { last: Option<Step> },
    Stopped { exit: String, last: Option<Step> },
    TimedOut { last: Option<Step> },
}

/// Why there was no run.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{what} failed: {source}")]
    Ioctl {
        what: &'static str,
        source: errno::Error,
    },
    #[error("the test guest's memory cannot be made: {0}")]
    Memory(String),
    #[error("the test guest's vCPU cannot be interrupted")]
    Stuck,
}

fn ioctl(what: &'static str) -> impl FnOnce(errno::Error) -> Error {
    move |source| Error::Ioctl { what, source }
}

/// Runs the guest on a thread of its own, for at most `limit`. The thread stays behind to take the guest apart, for which
/// KVM waits more than it works.
pub(super) fn run(kvm: &Kvm, limit: Duration) -> Result<End, Error> {
    let guest = Guest::new(kvm)?;
    let signal = SIGRTMIN();
    register_signal_handler(signal, on_kick).map_err(ioctl("sigaction"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, receiver) = mpsc::channel();
    let thread = thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut guest = guest;
            // Nobody waits for it any more when the guest was stuck.
            let _ = sender.send(guest.run(&stop));
        }
    });
    let mut end = receiver.recv_timeout(limit);
    let deadline = Instant::now() + KICK_FOR;
    while matches!(end, Err(RecvTimeoutError::Timeout)) {
        if Instant::now() > deadline {
            return Err(Error::Stuck);
        }
        stop.store(true, Ordering::Relaxed);
        thread.kill(signal).map_err(ioctl("pthread_kill"))?;
        end = receiver.recv_timeout(KICK_EVERY);
    }
    end.map_err(|_| Error::Stuck)
}

/// Does nothing: the signal's arrival is what ends KVM_RUN.
extern "C" fn on_kick(_: libc::c_int, _: *mut libc::siginfo_t, _: *mut libc::c_void) {}

/// A virtual machine that is ready to run. The fields drop in this order: the memory outlives its machine.
struct Guest {
    vcpu: VcpuFd,
    _vm: VmFd,
    _memory: GuestMemoryMmap,
}

impl Guest {
    fn new(kvm: &Kvm) -> Result<Self, Error> {
        let vm = kvm.create_vm().map_err(ioctl("KVM_CREATE_VM"))?;
        let memory = memory().map_err(|error| Error::Memory(error.to_string()))?;
        let address = memory
            .get_host_address(GuestAddress(0))
            .map_err(|error| Error::Memory(error.to_string()))?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: MEMORY as u64,
            userspace_addr: address as u64,
        };
        // SAFETY: the region is one live mapping of MEMORY bytes, and `Guest` keeps it until the machine is closed.
        unsafe { vm.set_user_memory_region(region) }
            .map_err(ioctl("KVM_SET_USER_MEMORY_REGION"))?;
        let vcpu = vm.create_vcpu(0).map_err(ioctl("KVM_CREATE_VCPU"))?;
        let cpuid = kvm
            .get_supported_cpuid(KVM_MAX_CPUID_ENTRIES)
            .map_err(ioctl("KVM_GET_SUPPORTED_CPUID"))?;
        vcpu.set_cpuid2(&cpuid).map_err(ioctl("KVM_SET_CPUID2"))?;
        registers(&vcpu)?;
        Ok(Self {
            vcpu,
            _vm: vm,
            _memory: memory,
        })
    }

    fn run(&mut self, stop: &AtomicBool) -> End {
        let mut last = None;
        for _ in 0..MAX_EXITS {
            let exit = match self.vcpu.run() {
                Ok(VcpuExit::IoOut(PORT, [report])) => {
                    last = Step::from_report(*report);
                    continue;
                }
                Ok(VcpuExit::Hlt) => return End::Halted { last },
                Ok(VcpuExit::InternalError) => {
                    "KVM_EXIT_INTERNAL_ERROR: an instruction that it cannot emulate".to_owned()
                }
                Ok(VcpuExit::Shutdown) => "a triple fault".to_owned(),
                Ok(exit) => format!("{exit:?}"),
                Err(error) if error.errno() == libc::EINTR && stop.load(Ordering::Relaxed) => {
                    return End::TimedOut { last };
                }
                Err(error) if error.errno() == libc::EINTR => continue,
                Err(error) => format!("KVM_RUN: {error}"),
            };
            return End::Stopped { exit, last };
        }
        End::Stopped {
            exit: "too many exits".to_owned(),
            last,
        }
    }
}

/// Page tables that map the first 2 MiB one to one, the code, and the word that it exchanges.
fn memory() -> Result<GuestMemoryMmap, Box<dyn std::error::Error>> {
    const PRESENT_WRITABLE: u64 = 0b11;
    const LARGE: u64 = 1 << 7;
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)])?;
    memory.write_obj(PDPT | PRESENT_WRITABLE, GuestAddress(PML4))?;
    memory.write_obj(PD | PRESENT_WRITABLE, GuestAddress(PDPT))?;
    memory.write_obj(PRESENT_WRITABLE | LARGE, GuestAddress(PD))?;
    memory.write_obj(1u64, GuestAddress(WORD))?;
    memory.write_obj(2u64, GuestAddress(WORD + 8))?;
    memory.write_slice(code(), GuestAddress(CODE))?;
    Ok(memory)
}

/// 64-bit mode with paging (Intel SDM volume 3, 10.8.5), as a boot loader leaves it.
fn registers(vcpu: &VcpuFd) -> Result<(), Error> {
    const CR0_PE_NE_PG: u64 = 1 | 1 << 5 | 1 << 31;
    const CR4_PAE: u64 = 1 << 5;
    const EFER_LME_LMA: u64 = 1 << 8 | 1 << 10;
    let mut system = vcpu.get_sregs().map_err(ioctl("KVM_GET_SREGS"))?;
    let flat = kvm_segment {
        base: 0,
        limit: u32::MAX,
        present: 1,
        s: 1,
        g: 1,
        ..Default::default()
    };
    // Type 11: code, readable, accessed. Type 3: data, writable, accessed.
    let code = kvm_segment {
        selector: 8,
        type_: 11,
        l: 1,
        ..flat
    };
    let data = kvm_segment {
        selector: 16,
        type_: 3,
        db: 1,
        ..flat
    };
    (system.cs, system.ds, system.es, system.ss) = (code, data, data, data);
    (system.fs, system.gs) = (data, data);
    system.cr0 = CR0_PE_NE_PG;
    system.cr3 = PML4;
    system.cr4 = CR4_PAE;
    system.efer = EFER_LME_LMA;
    vcpu.set_sregs(&system).map_err(ioctl("KVM_SET_SREGS"))?;
    let mut general = vcpu.get_regs().map_err(ioctl("KVM_GET_REGS"))?;
    general.rip = CODE;
    general.rsp = STACK_TOP;
    general.rflags = 2;
    vcpu.set_regs(&general).map_err(ioctl("KVM_SET_REGS"))
}

// Position-independent: it is copied into the guest. A step that goes wrong halts without its report.
std::arch::global_asm!(
    ".pushsection .rodata",
    "cenote_probe_code:",
    "mov al, {started}",
    "out {port}, al",
    // Exchange (1, 2) for (3, 4).
    "mov edi, {word}",
    "mov eax, 1",
    "mov edx, 2",
    "mov ebx, 3",
    "mov ecx, 4",
    "lock cmpxchg16b [rdi]",
    "jnz 2f",
    "cmp qword ptr [rdi + 8], 4",
    "jne 2f",
    "mov al, {exchanged}",
    "out {port}, al",
    // Switch global pages on (CR4.PGE).
    "mov rax, cr4",
    "or rax, 0x80",
    "mov cr4, rax",
    "mov rbx, cr4",
    "cmp rax, rbx",
    "jne 2f",
    "mov al, {control}",
    "out {port}, al",
    // Point the system call entry (IA32_LSTAR) somewhere.
    "mov ecx, 0xc0000082",
    "xor edx, edx",
    "mov eax, edi",
    "wrmsr",
    "rdmsr",
    "cmp eax, edi",
    "jne 2f",
    "mov al, {model}",
    "out {port}, al",
    "invlpg [rdi]",
    "call 3f",
    "2:",
    "hlt",
    "jmp 2b",
    "3:",
    "mov al, {done}",
    "out {port}, al",
    "ret",
    "cenote_probe_code_end:",
    ".popsection",
    port = const PORT,
    word = const WORD,
    started = const Step::Started as u8,
    exchanged = const Step::Exchanged as u8,
    control = const Step::ControlRegister as u8,
    model = const Step::ModelRegister as u8,
    done = const Step::Done as u8,
);

unsafe extern "C" {
    static cenote_probe_code: u8;
    static cenote_probe_code_end: u8;
}

fn code() -> &'static [u8] {
    let (start, end) = (
        &raw const cenote_probe_code,
        &raw const cenote_probe_code_end,
    );
    // SAFETY: both labels are in the assembly above, the second after the first, around initialized read-only bytes
    // that exist as long as the program.
    unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) }
}
