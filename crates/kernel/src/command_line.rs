//! The kernel parameters that every guest gets, and why.

use crate::store::Kernel;

/// Parameters, grouped by their reason.
pub const PARAMETERS: [(&str, &str); 5] = [
    (
        "panic=-1 reboot=t",
        "a panic ends the machine at once: QEMU runs with -no-reboot",
    ),
    (
        "quiet loglevel=3",
        "each byte on an emulated serial port leaves the guest; errors still appear",
    ),
    (
        "cryptomgr.notests",
        "the cryptographic self-tests take a quarter of an emulated boot",
    ),
    (
        "no_timer_check",
        "on a busy host the check of the timer's interrupt fails, and with it the IO-APIC's timer",
    ),
    (
        "dummy.numdummies=0",
        "a built kernel has the driver of dummy interfaces in it, which makes one unasked",
    ),
];

impl Kernel {
    /// The parameters for this kernel, without a console: the machine adds it.
    #[must_use]
    pub fn command_line(&self) -> String {
        PARAMETERS.map(|(parameters, _)| parameters).join(" ")
    }
}
