//! QEMU as a child that cannot outlive its monitor.

use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cenote_virtio::vhost_user;
use cenote_virtio::vsock::{Vsock, VsockSpec};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use super::arguments::{MAX_PMEM, MAX_SHARES, Plan};
use super::control::Control;
use super::{Error, Qemu, images};
use crate::machine::{GUEST_CID, Machine, Stopped, Vm};

/// At most so much of QEMU's own messages is kept for the error that names them.
const LAST_WORDS: u64 = 4096;

/// A running QEMU.
pub(super) struct Process {
    child: Mutex<Option<Child>>,
    pidfd: OwnedFd,
    console: Mutex<Option<PipeReader>>,
    log: File,
    control: Control,
    /// The devices that are lent to it.
    lent: Mutex<Vec<vhost_user::Handle>>,
    end: OnceLock<Stopped>,
}

impl Process {
    pub fn start(qemu: Qemu, machine: Machine) -> Result<Self, Error> {
        if machine.pmem.len() > MAX_PMEM {
            return Err(Error::TooManyImages {
                count: machine.pmem.len(),
            });
        }
        if machine.shares.len() > MAX_SHARES {
            return Err(Error::TooManyShares {
                count: machine.shares.len(),
            });
        }
        let files = machine.pmem.iter().flat_map(|pmem| &pmem.files);
        let images = images::place(files, machine.memory)?;
        let windows = Arc::new(images::windows(&images)?);
        let (ours, theirs) = UnixStream::pair()?;
        let device = Vsock::new(&VsockSpec {
            guest_cid: GUEST_CID,
            socket: machine.vsock.clone(),
        })?;
        let mut lent = vec![vhost_user::serve(
            Box::new(device),
            ours,
            Arc::clone(&windows),
        )?];
        let mut shares = Vec::new();
        for share in machine.shares {
            let (ours, theirs) = UnixStream::pair()?;
            shares.push((share.tag.clone(), theirs));
            let device = share.device(machine.cpus)?;
            lent.push(vhost_user::serve(
                Box::new(device),
                ours,
                Arc::clone(&windows),
            )?);
        }
        let shares: Vec<_> = shares
            .iter()
            .map(|(tag, socket)| (tag.as_str(), socket.as_fd()))
            .collect();
        let (control, control_end) = UnixStream::pair()?;
        let plan = Plan {
            accel: qemu.accel,
            cpus: machine.cpus,
            memory: machine.memory,
            nested: machine.nested,
            kernel: &machine.kernel,
            initramfs: &machine.initramfs,
            command_line: &machine.command_line,
            images: &images,
            disks: &machine.disks,
            shares: &shares,
            vsock: theirs.as_fd(),
            control: control_end.as_fd(),
            network: machine.network.as_ref(),
        };
        let (console, output) = io::pipe()?;
        let mut command = qemu.command;
        command
            .args(plan.arguments())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(machine.log.try_clone()?);
        let mut inherited = vec![theirs.as_fd(), control_end.as_fd()];
        inherited.extend(shares.iter().map(|(_, socket)| *socket));
        inherited.extend(
            machine
                .network
                .as_ref()
                .map(|network| network.stream.as_fd()),
        );
        let child = spawn(&mut command, &inherited)?;
        let pidfd = rustix::process::pidfd_open(Pid::from_child(&child), PidfdFlags::empty())
            .map_err(io::Error::from)?;
        Ok(Self {
            child: Mutex::new(Some(child)),
            pidfd,
            console: Mutex::new(Some(console)),
            log: machine.log,
            control: Control::new(control)?,
            lent: Mutex::new(lent),
            end: OnceLock::new(),
        })
    }

    /// Looks at how QEMU has ended.
    fn reap(&self) -> Stopped {
        let status = lock(&self.child).as_mut().map(Child::wait);
        // The devices notice that their driver is gone, and hang up on whoever still waits for the guest.
        for device in lock(&self.lent).iter_mut() {
            if let Err(error) = device.wait() {
                tracing::warn!(%error, "a device was not served to the end");
            }
        }
        match status {
            Some(Ok(status)) if status.code().is_some_and(|code| code != 0) => {
                Stopped::Failed(self.last_words())
            }
            _ if self.control.was_reset() => Stopped::Reset,
            _ => Stopped::Off,
        }
    }

    fn last_words(&self) -> String {
        let mut text = Vec::new();
        let start = self
            .log
            .metadata()
            .map(|log| log.len().saturating_sub(LAST_WORDS))
            .unwrap_or(0);
        let mut tail = Tail {
            log: &self.log,
            offset: start,
        };
        // A log that cannot be read leaves the text short, which is all that can be said then.
        let _ = tail.by_ref().take(LAST_WORDS).read_to_end(&mut text);
        String::from_utf8_lossy(&text).trim().to_owned()
    }
}

impl Vm for Process {
    fn wait(&self) -> Stopped {
        // Wait without reaping, so that every waiting thread sees the exit; the first one then reaps.
        let id = WaitId::PidFd(self.pidfd.as_fd());
        while let Err(rustix::io::Errno::INTR) =
            rustix::process::waitid(id.clone(), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)
        {
        }
        self.end.get_or_init(|| self.reap()).clone()
    }

    fn kill(&self) {
        // An error means that it has already ended.
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn pause(&self) -> io::Result<()> {
        self.control.execute("stop")
    }

    fn resume(&self) -> io::Result<()> {
        self.control.execute("cont")
    }

    fn console(&self) -> Option<File> {
        lock(&self.console)
            .take()
            .map(|pipe| File::from(OwnedFd::from(pipe)))
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("pidfd", &self.pidfd)
            .finish_non_exhaustive()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts `command` with `inherited` open in it, bound to this process's life.
fn spawn(command: &mut Command, inherited: &[BorrowedFd<'_>]) -> Result<Child, Error> {
    let parent = rustix::process::getpid();
    let descriptors: Vec<i32> = inherited.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: between fork and exec the closure only makes system calls on values that it owns; it neither allocates nor locks.
    // The descriptors that it borrows stay open in the caller until the child has been made.
    unsafe {
        command.pre_exec(move || {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            // The parent may have died before the line above took effect.
            if rustix::process::getppid() != Some(parent) {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            for &descriptor in &descriptors {
                let descriptor = BorrowedFd::borrow_raw(descriptor);
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        });
    }
    let program = command.get_program().to_string_lossy().into_owned();
    command
        .spawn()
        .map_err(|source| Error::Spawn { program, source })
}

/// Reads a log at an offset of its own, beside its writer.
struct Tail<'a> {
    log: &'a File,
    offset: u64,
}

impl Read for Tail<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let count = self.log.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
