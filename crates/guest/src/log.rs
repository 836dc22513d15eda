//! Lines on the console: that the agent runs, and each failure that cannot be told to the host.

use std::fmt::Display;
use std::io::{self, Write};

/// Writes a line to the console (standard error, which the kernel opened as /dev/console).
pub fn line(text: impl Display) {
    // A console that takes no more bytes must not stop the machine.
    let _ = writeln!(io::stderr(), "cenote-guest: {text}");
}
