//! News about long work, on standard error.

use std::io::{self, Write};

/// Says in one line what is about to take a while.
pub fn announce(text: &str) {
    // Nobody is left to read it, so nobody misses it.
    let _ = writeln!(io::stderr(), "cenote: {text}");
}
