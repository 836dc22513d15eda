//! An image with files to read, in which no page is like another.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::cost;
use crate::host::Host;

/// Its name.
pub const IMAGE: &str = "localhost/files";
const MEGABYTE: usize = 1_000_000;

/// Makes the image: busybox, `/warm` of 8 MB, and `/large` of `size` bytes.
///
/// # Errors
/// When it cannot be made.
pub fn import(host: &Host, size: usize) -> anyhow::Result<()> {
    let root = host.scratch().join("root");
    fs::create_dir_all(root.join("bin"))?;
    let busybox = Path::new("/bin/busybox");
    fs::copy(busybox, root.join("bin/busybox"))
        .context("cannot copy /bin/busybox: install the package busybox-static")?;
    for name in ["sh", "cat", "grep", "sleep"] {
        symlink("busybox", root.join("bin").join(name))?;
    }
    noise(&root.join("warm"), 8 * MEGABYTE, 1)?;
    noise(&root.join("large"), size, 2)?;
    let archive = host.scratch().join("root.tar");
    cost::of(
        Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&archive)
            .arg("."),
    )?;
    host.run(&["import".as_ref(), archive.as_os_str(), IMAGE.as_ref()])?;
    Ok(())
}

/// Writes bytes in which no page is like another (xorshift64).
fn noise(path: &Path, size: usize, seed: u64) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut state = seed;
    for _ in 0..size / 8 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        file.write_all(&state.to_le_bytes())?;
    }
    Ok(file.flush()?)
}
