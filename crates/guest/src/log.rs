//! Lines on the console: that the agent runs, and each failure that cannot be told to the host.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;

/// The machine's console, and where a line goes while there is none: some kernels find it by a module only.
const CONSOLE: &str = "/dev/console";
const KERNEL_LOG: &str = "/dev/kmsg";

/// Writes a line to the console, or to the kernel's log as an error, which also reaches early consoles.
pub fn line(text: impl Display) {
    let open = |path| File::options().write(true).open(path);
    // A console that takes no more bytes must not stop the machine.
    let _ = match open(CONSOLE) {
        Ok(mut console) => console.write_all(format!("cenote-guest: {text}\n").as_bytes()),
        Err(_) => open(KERNEL_LOG)
            .and_then(|mut log| log.write_all(format!("<3>cenote-guest: {text}\n").as_bytes())),
    };
}
