//! An instance of tracefs (`Documentation/trace/ftrace.rst`, "Instances"): buffers of its own for some events.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

use crate::step::{Step, StepError};

/// Where the agent mounts tracefs. The container has its own mounts and does not see it.
const TRACEFS: &str = "/run/cenote/tracing";
/// For each processor: some thousand events. Older ones make room for newer ones.
const BUFFER_KIB: &str = "512";
/// Without these there is no trace.
const NEEDED: [&str; 2] = ["fuse_request_send", "fuse_request_end"];
/// When `/dev/fuse` was read, which older kernels do not tell.
const TAKEN: &str = "fuse_request_sent";

/// Removed when this is dropped.
#[derive(Debug)]
pub struct Instance {
    folder: PathBuf,
    pipe: Option<File>,
}

impl Instance {
    /// Begins to record the events of one in `rate` requests, or of more where the kernel's filter cannot say it.
    ///
    /// # Errors
    /// When the kernel has no tracefs, or not these events.
    pub fn make(rate: u32) -> Result<Self, StepError> {
        fs::create_dir_all(TRACEFS).step("make the directory", TRACEFS)?;
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        match mount("tracefs", TRACEFS, "tracefs", flags, None) {
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => return Err(errno).step("mount tracefs on", TRACEFS),
        }
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(TRACEFS).join(format!("instances/cenote{number}"));
        fs::create_dir(&folder).step("make the instance", folder.display())?;
        let mut instance = Self { folder, pipe: None };
        instance.set("buffer_size_kb", BUFFER_KIB)?;
        instance.set("trace_clock", "mono")?;
        for event in NEEDED {
            instance.record(event, rate)?;
        }
        // The queue's time is then part of the transport's.
        let _ = instance.record(TAKEN, rate);
        let path = instance.folder.join("trace_pipe");
        let pipe = OpenOptions::new()
            .read(true)
            .custom_flags(OFlags::NONBLOCK.bits() as i32)
            .open(&path);
        instance.pipe = Some(pipe.step("open", path.display())?);
        Ok(instance)
    }

    /// What was recorded, as text; reading does not wait.
    pub fn pipe(&self) -> &File {
        self.pipe.as_ref().expect("it is opened when it is made")
    }

    fn record(&self, event: &str, rate: u32) -> Result<(), StepError> {
        let event = format!("events/fuse/{event}");
        if let Some(filter) = filter(rate) {
            self.set(&format!("{event}/filter"), &filter)?;
        }
        self.set(&format!("{event}/enable"), "1")
    }

    fn set(&self, name: &str, value: &str) -> Result<(), StepError> {
        let path = self.folder.join(name);
        fs::write(&path, value).step("write", path.display())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        // An instance that is being read cannot be removed. Should something else keep it, it ends with the machine.
        self.pipe = None;
        let _ = self.set("events/enable", "0");
        let _ = fs::remove_dir(&self.folder);
    }
}

/// The kernel's filters know bits but no remainders: the power of two in `rate` is theirs.
fn filter(rate: u32) -> Option<String> {
    // Numbers of requests go in steps of two.
    let mask = ((1_u64 << rate.trailing_zeros()) - 1) << 1;
    (mask > 0).then(|| format!("!(unique & {mask})"))
}
