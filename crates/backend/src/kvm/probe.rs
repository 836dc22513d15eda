//! Believes /dev/kvm only after it has run a guest.
//!
//! A device node is no proof: some hosts offer one that emulates privileged instructions one by one and stops at the
//! first that it does not know. So a few lines of 64-bit code do what every kernel does early ([`guest`]), with a time
//! limit, and report each step through an I/O port; what they reached decides.

mod guest;

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use kvm_ioctls::Kvm;
use serde::Serialize;

use guest::{End, Step};

/// The device.
pub const DEVICE: &str = "/dev/kvm";

/// The only version of the interface that there ever was since Linux 2.6.22.
const API_VERSION: i32 = 12;

/// A working KVM takes less than a millisecond, but the host may have much else to do, or be a guest itself whose host
/// has; only where KVM hangs is all of it waited for.
const LIMIT: Duration = Duration::from_secs(20);

/// What the probe found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "kvm")]
pub enum Probe {
    /// Ordinary kernels run.
    Usable,
    /// There is no /dev/kvm.
    Missing,
    /// This user may not open it.
    NoPermission {
        /// What to do.
        remedy: String,
    },
    /// It is there and does not run an ordinary kernel.
    Unusable {
        /// What went wrong.
        why: String,
    },
}

impl Probe {
    /// Whether virtual machines can run on it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        *self == Self::Usable
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usable => write!(f, "{DEVICE} works"),
            Self::Missing => write!(f, "there is no {DEVICE}"),
            Self::NoPermission { remedy } => write!(f, "{DEVICE} may not be opened: {remedy}"),
            Self::Unusable { why } => write!(
                f,
                "{DEVICE} is there, but cannot run an ordinary kernel: {why}"
            ),
        }
    }
}

/// Opens /dev/kvm and runs the guest on it. Takes milliseconds, unless KVM hangs.
#[must_use]
pub fn probe() -> Probe {
    probe_device(Path::new(DEVICE))
}

fn probe_device(device: &Path) -> Probe {
    let Some(path) = device
        .to_str()
        .and_then(|path| std::ffi::CString::new(path).ok())
    else {
        return Probe::Missing;
    };
    let kvm = match Kvm::new_with_path(path) {
        Ok(kvm) => kvm,
        Err(error) => return not_opened(&error.into()),
    };
    let version = kvm.get_api_version();
    if version != API_VERSION {
        return Probe::Unusable {
            why: format!("its interface has version {version} instead of {API_VERSION}"),
        };
    }
    decide(guest::run(&kvm, LIMIT))
}

fn not_opened(error: &io::Error) -> Probe {
    match error.kind() {
        io::ErrorKind::NotFound => Probe::Missing,
        io::ErrorKind::PermissionDenied => Probe::NoPermission {
            remedy: "add yourself to the group that owns it (usually `sudo usermod -aG kvm $USER`) and log in again".to_owned(),
        },
        _ => Probe::Unusable { why: format!("it cannot be opened: {error}") },
    }
}

/// From how the guest ended to a verdict.
fn decide(end: Result<End, guest::Error>) -> Probe {
    let why = match end {
        Ok(End::Halted {
            last: Some(Step::Done),
        }) => return Probe::Usable,
        Ok(End::Halted { last }) => format!("the test guest halted early, {}", after(last)),
        Ok(End::Stopped { exit, last }) => {
            format!("the test guest was stopped ({exit}) {}", after(last))
        }
        Ok(End::TimedOut { last }) => format!(
            "the test guest did not end within {} s, {}",
            LIMIT.as_secs(),
            after(last)
        ),
        Err(error) => error.to_string(),
    };
    Probe::Unusable { why }
}

fn after(last: Option<Step>) -> String {
    match last {
        None => "before its first step".to_owned(),
        Some(Step::Done) => "after its last step".to_owned(),
        Some(step) => format!("at: {}", step.next_action()),
    }
}

#[cfg(test)]
#[path = "probe_test.rs"]
mod tests;
