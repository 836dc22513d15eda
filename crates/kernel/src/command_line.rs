//! The kernel parameters that every guest gets, and why.

use crate::store::Kernel;

/// Parameters, grouped by their reason.
pub const PARAMETERS: [(&str, &str); 2] = [
    (
        "panic=-1 reboot=t",
        "a panic ends the machine at once: QEMU runs with -no-reboot",
    ),
    (
        "quiet loglevel=3",
        "each line on an emulated serial port costs an exit a byte; errors still appear",
    ),
];

impl Kernel {
    /// The parameters for this kernel, without a console: the machine adds it.
    #[must_use]
    pub fn command_line(&self) -> String {
        PARAMETERS.map(|(parameters, _)| parameters).join(" ")
    }
}
