//! System calls that rustix does not offer, or not in the form that is needed here.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::process::Pid;

/// A flag of `clone3` (`linux/sched.h`); libc's constant is too narrow for its value.
const CLONE_INTO_CGROUP: u64 = 1 << 33;

/// What a forked process is to be beside a copy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fork {
    /// Whether it becomes the first process of a new PID namespace.
    pub new_pid_namespace: bool,
    /// The control group to begin in, by its directory.
    pub cgroup: Option<RawFd>,
}

/// Which side of a fork the caller is on.
#[derive(Debug)]
pub enum Forked {
    /// The new process.
    Child,
    /// The caller; this is its child.
    Parent(Process),
}

/// A child process.
#[derive(Debug)]
pub struct Process {
    /// Its id, as its parent sees it.
    pub pid: Pid,
    /// Its descriptor (`pidfd_open(2)`): readable when the process has ended.
    pub pidfd: OwnedFd,
}

/// Forks (`clone3(2)` without shared memory), with a descriptor for the child.
///
/// # Errors
/// As `clone3`: `EAGAIN` and `ENOMEM` for want of processes or memory; `ENOMEM` also when the PID namespace has lost
/// its first process.
///
/// # Safety
/// In a process of several threads the child may only make system calls until it executes a program or exits: it
/// must not allocate, lock or unwind, as another thread may have held a lock at the time of the fork.
pub unsafe fn fork(how: Fork) -> Result<Forked> {
    let mut pidfd: libc::c_int = -1;
    let mut flags = libc::CLONE_PIDFD as u64;
    if how.new_pid_namespace {
        flags |= libc::CLONE_NEWPID as u64;
    }
    if how.cgroup.is_some() {
        flags |= CLONE_INTO_CGROUP;
    }
    // SAFETY: all-zero is a valid `clone_args`: plain integers, zero means "not used".
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags;
    args.cgroup = how.cgroup.unwrap_or_default() as u64;
    args.pidfd = &raw mut pidfd as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: `args` is valid for its size and `pidfd` outlives the call; without CLONE_VM the child has its own
    // copy of the stack. What the child may do is the caller's promise.
    let pid = unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut args,
            size_of::<libc::clone_args>(),
        )
    };
    match pid {
        0 => Ok(Forked::Child),
        pid if pid < 0 => Err(last_error()),
        pid => {
            let pid = Pid::from_raw(pid as i32).ok_or(Errno::INVAL)?;
            // SAFETY: the kernel has just made this descriptor for us.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Forked::Parent(Process { pid, pidfd }))
        }
    }
}

/// Gives the calling process a control group namespace whose root is its present group. Makes a system call only.
///
/// # Errors
/// `EINVAL` where the kernel has none.
pub fn unshare_cgroup() -> Result<()> {
    // SAFETY: a plain system call on an integer; nothing that is shared with other threads changes.
    check(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWCGROUP) })
}

/// Sends signal `number` to a process. Makes a system call only.
///
/// # Errors
/// `ESRCH` if it has ended, `EINVAL` if there is no such signal.
pub fn send_signal(pidfd: BorrowedFd<'_>, number: u8) -> Result<()> {
    // SAFETY: a plain system call on integers; the null pointer asks for default signal information.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            libc::c_int::from(number),
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    check(result)
}

/// Sets a resource limit of the calling process. Makes a system call only.
///
/// # Errors
/// `EINVAL` for an unknown resource or a soft limit above the hard one, `EPERM` for a hard limit above the present.
pub fn set_rlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limit = [soft, hard];
    // SAFETY: the kernel reads two 64-bit values (`struct rlimit64`) from `limit`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            limit.as_ptr(),
            std::ptr::null_mut::<u64>(),
        )
    };
    check(result)
}

/// Gives every signal its default action and blocks none, as a program expects it. Makes system calls only.
pub fn reset_signals() {
    // The kernel's `struct sigaction` is four words on x86-64 and aarch64; all zero is SIG_DFL, no flags, empty mask.
    let default = [0u64; 4];
    let none = 0u64;
    for number in 1..=64 {
        // SAFETY: the kernel reads four words. SIGKILL and SIGSTOP answer EINVAL, which is of no interest.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                8,
            );
        }
    }
    // SAFETY: the kernel reads one word, the size says so.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            std::ptr::null_mut::<u64>(),
            8,
        );
    }
}

/// The result of a raw system call.
pub fn check(result: libc::c_long) -> Result<()> {
    if result < 0 {
        Err(last_error())
    } else {
        Ok(())
    }
}

/// The calling thread's last error number.
pub fn last_error() -> Errno {
    // SAFETY: the location is the calling thread's own and always valid.
    Errno::from_raw_os_error(unsafe { *libc::__errno_location() })
}
