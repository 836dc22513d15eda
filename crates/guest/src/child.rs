//! The new process between fork and execve: only system calls, no allocation, no lock, no unwinding.
//!
//! The agent has threads, so at the time of the fork another one may hold the allocator's lock, and the copy of that
//! lock is never released here. Everything that needs memory was prepared by [`crate::launch`]. A step that fails is
//! reported through a pipe that closes by itself when the program starts.

use std::ffi::{CStr, CString, c_char};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use cenote_protocol::{Capabilities, Rlimit};
use rustix::fs::{Gid, Mode, Uid};
use rustix::io::{Errno, Result};
use rustix::process::{chdir, setsid, umask};
use rustix::thread;

use crate::container::inside;
use crate::streams::ProcessEnds;
use crate::sys::{self, Fork, Forked, check, last_error};

/// The code of a process that could not become its program; the launcher knows more from the report.
const FAILED: i32 = 127;

/// All that the new process needs.
#[derive(Debug)]
pub struct Task {
    /// The paths to try, in order.
    pub programs: Vec<CString>,
    /// The arguments, the program's name first.
    pub args: Pointers,
    /// The environment.
    pub env: Pointers,
    /// The working directory.
    pub cwd: CString,
    /// The user.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
    /// The bounding set.
    pub capabilities: Capabilities,
    /// The limits to change.
    pub rlimits: Vec<Rlimit>,
    /// Whether `PR_SET_NO_NEW_PRIVS` is set.
    pub no_new_privileges: bool,
    /// Whether this process stays as a reaper and the program runs below it.
    pub init: bool,
    /// The control group that this process begins in.
    pub cgroup: Option<OwnedFd>,
    /// Whether this process is the first of a container, which mounts what depends on its PID namespace.
    pub container: bool,
}

/// Strings as execve wants them: an array of pointers with a null at its end.
#[derive(Debug)]
pub struct Pointers {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Pointers {
    /// Keeps `strings` and points at them.
    pub fn new(strings: Vec<CString>) -> Pointers {
        let mut pointers: Vec<_> = strings.iter().map(|string| string.as_ptr()).collect();
        pointers.push(std::ptr::null());
        Pointers {
            _strings: strings,
            pointers,
        }
    }
}

/// What the new process does, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Mounts of a container that depend on its PID namespace.
    MountInside,
    /// The reaper of `--init`.
    StartReaper,
    /// Standard input, output and error; the controlling terminal.
    ConnectStreams,
    /// Resource limits.
    Limit,
    /// Capabilities, groups, user.
    DropPrivileges,
    /// The working directory.
    EnterWorkdir,
    /// The program.
    Execute,
}

impl Step {
    const ALL: [Step; 7] = [
        Step::MountInside,
        Step::StartReaper,
        Step::ConnectStreams,
        Step::Limit,
        Step::DropPrivileges,
        Step::EnterWorkdir,
        Step::Execute,
    ];

    /// The step as a verb phrase.
    pub fn words(self) -> &'static str {
        match self {
            Step::MountInside => "mount the container's own file systems",
            Step::StartReaper => "start the reaper",
            Step::ConnectStreams => "connect the standard streams",
            Step::Limit => "set the resource limits",
            Step::DropPrivileges => "take on the user and its capabilities",
            Step::EnterWorkdir => "enter the working directory",
            Step::Execute => "execute the program",
        }
    }
}

/// What a new process tells its launcher when a step fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// The step.
    pub step: Step,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Report {
    /// The size of a report in the pipe.
    pub const LEN: usize = 5;

    fn to_bytes(self) -> [u8; Report::LEN] {
        let [a, b, c, d] = self.errno.raw_os_error().to_ne_bytes();
        [self.step as u8, a, b, c, d]
    }

    /// Reads what [`run`] wrote.
    pub fn from_bytes(bytes: [u8; Report::LEN]) -> Report {
        let [step, errno @ ..] = bytes;
        let step = Step::ALL
            .into_iter()
            .find(|known| *known as u8 == step)
            .unwrap_or(Step::Execute);
        Report {
            step,
            errno: Errno::from_raw_os_error(i32::from_ne_bytes(errno)),
        }
    }
}

/// Becomes the program of `task`, or reports to `report_to` and exits.
pub fn run(task: &Task, ends: &ProcessEnds, report_to: BorrowedFd<'_>) -> ! {
    let report = match become_program(task, ends) {
        Err(report) => report,
        Ok(never) => match never {},
    };
    // Nobody is left to be told if the pipe is gone.
    let _ = rustix::io::write(report_to, &report.to_bytes());
    exit(FAILED)
}

fn become_program(
    task: &Task,
    ends: &ProcessEnds,
) -> std::result::Result<std::convert::Infallible, Report> {
    let at = |step| move |errno| Report { step, errno };
    sys::reset_signals();
    // The kernel ignores nothing here: a mask is always accepted.
    umask(Mode::from_raw_mode(0o022));
    if task.container {
        inside::mount_inside(task.cgroup.is_some()).map_err(at(Step::MountInside))?;
    }
    if task.init {
        stay_as_reaper().map_err(at(Step::StartReaper))?;
    }
    connect(ends).map_err(at(Step::ConnectStreams))?;
    for limit in &task.rlimits {
        sys::set_rlimit(limit.resource, limit.soft, limit.hard).map_err(at(Step::Limit))?;
    }
    drop_privileges(task).map_err(at(Step::DropPrivileges))?;
    chdir(task.cwd.as_c_str()).map_err(at(Step::EnterWorkdir))?;
    Err(Report {
        step: Step::Execute,
        errno: execute(task),
    })
}

fn connect(ends: &ProcessEnds) -> Result<()> {
    setsid()?;
    for (fd, number) in ends.fds.iter().zip(0..) {
        // SAFETY: the agent's own streams are replaced in this process only, where no code uses them.
        check(unsafe { libc::syscall(libc::SYS_dup3, fd.as_raw_fd(), number, 0) })?;
    }
    if ends.terminal {
        // SAFETY: a plain system call on integers; descriptor 0 is the terminal.
        check(unsafe { libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSCTTY, 0) })?;
    }
    // Every descriptor of the agent is marked already; this is for one that a library forgot.
    // SAFETY: a plain system call on integers.
    check(unsafe {
        libc::syscall(
            libc::SYS_close_range,
            3,
            u32::MAX,
            libc::CLOSE_RANGE_CLOEXEC,
        )
    })
}

fn drop_privileges(task: &Task) -> Result<()> {
    limit_capabilities(task.capabilities)?;
    // SAFETY: the kernel reads as many 32-bit numbers as it is told.
    check(unsafe { libc::syscall(libc::SYS_setgroups, task.groups.len(), task.groups.as_ptr()) })?;
    let gid = Gid::from_raw(task.gid);
    thread::set_thread_res_gid(gid, gid, gid)?;
    let uid = Uid::from_raw(task.uid);
    thread::set_thread_res_uid(uid, uid, uid)?;
    if task.no_new_privileges {
        thread::set_no_new_privs(true)?;
    }
    Ok(())
}

/// Removes everything outside `keep` from the bounding set. The rest follows by the kernel's rules
/// (capabilities(7)): a program run by root gets the bounding set, one run by another user none.
fn limit_capabilities(keep: Capabilities) -> Result<()> {
    for number in 0..64 {
        if keep.0 & (1 << number) != 0 {
            continue;
        }
        // SAFETY: a plain system call on integers.
        match check(unsafe {
            libc::syscall(libc::SYS_prctl, libc::PR_CAPBSET_DROP, number, 0, 0, 0)
        }) {
            Ok(()) => {}
            // The kernel knows no capability of this number, nor of any above.
            Err(Errno::INVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// Tries the candidates as execvp(3) does, and returns why none ran.
fn execute(task: &Task) -> Errno {
    let mut denied = false;
    for program in &task.programs {
        match execve(program, task) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => denied = true,
            errno => return errno,
        }
    }
    if denied { Errno::ACCESS } else { Errno::NOENT }
}

fn execve(program: &CStr, task: &Task) -> Errno {
    // SAFETY: the path ends with a zero byte, both arrays with a null pointer, and all outlive the call.
    unsafe {
        libc::syscall(
            libc::SYS_execve,
            program.as_ptr(),
            task.args.pointers.as_ptr(),
            task.env.pointers.as_ptr(),
        );
    }
    last_error()
}

/// Forks. The child goes on; this process stays, passes every signal on to it, reaps all that ends, and ends as the
/// child does.
fn stay_as_reaper() -> Result<()> {
    let all = u64::MAX;
    // Blocked signals wait to be fetched; the child's own are reset below.
    set_mask(all)?;
    // SAFETY: this process has one thread, and both sides go on making system calls only.
    let child = match unsafe { sys::fork(Fork::default()) }? {
        Forked::Child => return set_mask(0),
        Forked::Parent(child) => child,
    };
    let pid = child.pid.as_raw_nonzero().get();
    let pidfd = child.pidfd.as_raw_fd();
    // The streams must end when the program closes them, not when this process ends.
    // SAFETY: plain system calls on integers; the child's descriptor, used below, is left open.
    unsafe {
        if pidfd > 0 {
            libc::syscall(libc::SYS_close_range, 0, pidfd - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, pidfd + 1, u32::MAX, 0);
    }
    loop {
        // SAFETY: the kernel reads one word of signals; the null pointers ask for no details and no time limit.
        let number = unsafe {
            libc::syscall(
                libc::SYS_rt_sigtimedwait,
                &raw const all,
                std::ptr::null_mut::<u8>(),
                std::ptr::null::<u8>(),
                8,
            )
        };
        if number == i64::from(libc::SIGCHLD) {
            reap_all(pid);
        } else if let Ok(number @ 1..) = u8::try_from(number) {
            // A child that has ended is found by the next SIGCHLD.
            let _ = sys::send_signal(rustix::fd::AsFd::as_fd(&child.pidfd), number);
        }
    }
}

fn reap_all(program: i32) {
    loop {
        let mut status = 0;
        // SAFETY: the kernel writes one integer; the null pointer asks for no accounting.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_wait4,
                -1,
                &raw mut status,
                libc::WNOHANG,
                std::ptr::null_mut::<libc::rusage>(),
            )
        };
        if pid <= 0 {
            return;
        }
        if pid == i64::from(program) {
            exit(if libc::WIFSIGNALED(status) {
                128 + libc::WTERMSIG(status)
            } else {
                libc::WEXITSTATUS(status)
            });
        }
    }
}

fn set_mask(mask: u64) -> Result<()> {
    // SAFETY: the kernel reads one word, the size says so.
    check(unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            std::ptr::null_mut::<u64>(),
            8,
        )
    })
}

fn exit(code: i32) -> ! {
    // SAFETY: a plain system call; it ends the process without running anything of it.
    unsafe { libc::_exit(code) }
}
