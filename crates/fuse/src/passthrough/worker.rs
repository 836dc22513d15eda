//! The thread that carries operations out, and whom it acts as.

use std::marker::PhantomData;
use std::sync::Arc;

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, UnshareFlags};
use thiserror::Error;

use super::opening::File;

/// Why a thread cannot serve.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum WorkerError {
    #[error("a file-system thread cannot have its own umask and working directory: {0}")]
    Unshare(#[source] Errno),
    #[error("/proc/self/fd cannot be entered ({0}); mount /proc")]
    Proc(#[source] Errno),
    #[error("a file-system thread cannot read its capabilities: {0}")]
    Read(#[source] Errno),
    #[error(
        "a file-system thread cannot keep the capabilities it needs ({0}); acting as other users needs CAP_SETPCAP, \
         CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_FOWNER and CAP_FSETID: map ids instead (idmap)"
    )]
    Capabilities(#[source] Errno),
}

/// What a thread that acts as the client's users needs.
const NEEDED: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID);

/// What it keeps beside that if it has it, to open files by handle, make devices and set file capabilities. Root in a
/// container often lacks some of it.
const USEFUL: CapabilitySet = CapabilitySet::DAC_READ_SEARCH
    .union(CapabilitySet::MKNOD)
    .union(CapabilitySet::SETFCAP);

/// A thread prepared for operations: its working directory is `/proc/self/fd`, its umask its own, its capabilities few.
///
/// It stays on the thread that made it.
#[derive(Debug)]
pub struct Worker {
    umask: Mode,
    /// Whom new files belong to, if the thread may choose.
    acts: Option<Acts>,
    rights: Rights,
    /// Where replies of changing length are put together.
    pub(crate) scratch: Vec<u8>,
    /// What it read last, if the client opens nothing: it is likely to go on reading there.
    pub(super) last: Option<Arc<File>>,
    _bound: PhantomData<*const ()>,
}

#[derive(Debug)]
struct Acts {
    uid: u32,
    gid: u32,
}

/// What the thread may do beyond what an ordinary user may.
#[derive(Debug)]
struct Rights {
    /// All that it keeps.
    capabilities: CapabilitySet,
    /// Whether CAP_FSETID is in force: without it, the kernel clears set-user-id and set-group-id bits.
    keeps_bits: bool,
}

impl Worker {
    /// Prepares the calling thread for good. With `switches`, it can act as any user, which needs the capabilities.
    pub fn enter(switches: bool) -> Result<Worker, WorkerError> {
        // SAFETY: only the calling thread's root, working directory and umask become its own; no memory is unshared.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::FS) }
            .map_err(WorkerError::Unshare)?;
        rustix::process::chdir("/proc/self/fd").map_err(WorkerError::Proc)?;
        let umask = Mode::empty();
        rustix::process::umask(umask);
        block_limit_signal();
        Ok(Worker {
            umask,
            acts: switches.then(Acts::new).transpose()?,
            rights: Rights::keep(switches)?,
            scratch: Vec::new(),
            last: None,
            _bound: PhantomData,
        })
    }

    /// New files get this umask from now on.
    pub(crate) fn mask(&mut self, umask: u32) {
        let umask = Mode::from_raw_mode(umask & 0o777);
        if self.umask != umask {
            rustix::process::umask(umask);
            self.umask = umask;
        }
    }

    /// New files belong to these from now on, if the thread may choose.
    pub(crate) fn act_as(&mut self, uid: u32, gid: u32) -> Result<(), Errno> {
        match &mut self.acts {
            Some(acts) => acts.act_as(uid, gid),
            None => Ok(()),
        }
    }

    /// Whether the kernel leaves set-user-id and set-group-id bits where an ordinary user's action would clear them.
    pub(crate) fn keep_bits(&mut self, keep: bool) -> Result<(), Errno> {
        self.rights.keep_bits(keep)
    }
}

/// What a client writes beyond the limit on a file's length is EFBIG for it then, and not the end of this process.
fn block_limit_signal() {
    // SAFETY: the set is the calling thread's own, made empty before it is used, and nothing else is changed than which
    // signals the thread gets; this one tells of nothing but its own writes.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGXFSZ);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
}

impl Acts {
    fn new() -> Result<Acts, WorkerError> {
        // With this bit, a change of the file-system user leaves the capabilities alone.
        rustix::thread::set_capabilities_secure_bits(
            rustix::thread::CapabilitiesSecureBits::NO_SETUID_FIXUP,
        )
        .map_err(WorkerError::Capabilities)?;
        rustix::thread::set_thread_groups(&[]).map_err(WorkerError::Capabilities)?;
        Ok(Acts { uid: 0, gid: 0 })
    }

    fn act_as(&mut self, uid: u32, gid: u32) -> Result<(), Errno> {
        if self.uid != uid {
            // SAFETY: the raw call changes only the calling thread, and takes an integer.
            unsafe { libc::syscall(libc::SYS_setfsuid, uid) };
            // SAFETY: as above; an impossible id changes nothing and returns the current one.
            let now = unsafe { libc::syscall(libc::SYS_setfsuid, u32::MAX) };
            if now as u32 != uid {
                return Err(Errno::PERM);
            }
            self.uid = uid;
        }
        if self.gid != gid {
            // SAFETY: as above.
            unsafe { libc::syscall(libc::SYS_setfsgid, gid) };
            // SAFETY: as above.
            let now = unsafe { libc::syscall(libc::SYS_setfsgid, u32::MAX) };
            if now as u32 != gid {
                return Err(Errno::PERM);
            }
            self.gid = gid;
        }
        Ok(())
    }
}

impl Rights {
    /// Keeps what is needed and what may be of use, and nothing else. A thread that remains who it is needs nothing.
    fn keep(needs: bool) -> Result<Rights, WorkerError> {
        let had = rustix::thread::capabilities(None).map_err(WorkerError::Read)?;
        let capabilities = match needs {
            true => NEEDED.union(USEFUL.intersection(had.permitted)),
            false => NEEDED.union(USEFUL).intersection(had.effective),
        };
        restrict(capabilities, capabilities).map_err(WorkerError::Capabilities)?;
        Ok(Rights {
            capabilities,
            keeps_bits: capabilities.contains(CapabilitySet::FSETID),
        })
    }

    fn keep_bits(&mut self, keep: bool) -> Result<(), Errno> {
        let keep = keep && self.capabilities.contains(CapabilitySet::FSETID);
        if self.keeps_bits != keep {
            let mut effective = self.capabilities;
            effective.set(CapabilitySet::FSETID, keep);
            restrict(effective, self.capabilities)?;
            self.keeps_bits = keep;
        }
        Ok(())
    }
}

fn restrict(effective: CapabilitySet, permitted: CapabilitySet) -> Result<(), Errno> {
    rustix::thread::set_capabilities(
        None,
        CapabilitySets {
            effective,
            permitted,
            inheritable: CapabilitySet::empty(),
        },
    )
}
