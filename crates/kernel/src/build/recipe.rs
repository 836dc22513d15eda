//! How the source becomes a kernel: the calls of `make`, with everything in them that a kernel's bytes depend on.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;

use super::inputs::Inputs;
use super::toolchain::Toolchain;

/// Every symbol that can be asked for and is not asked for is off.
pub(super) const CONFIGURE: &str = "allnoconfig";
/// The uncompressed ELF file.
pub(super) const COMPILE: &str = "vmlinux";
/// About how many lines that prints: Linux 7.3.4 with the configuration of x86_64 took 2,487 commands.
pub(super) const COMPILE_STEPS: u64 = 2_500;
/// What strip leaves out: symbols, which nobody reads in a guest. Notes stay, since they are loaded.
pub(super) const STRIP: &str = "--strip-all";
/// What the kernel says about who made it, where and when: the same everywhere, so that the same inputs give the same
/// bytes.
const VARIABLES: [(&str, &str); 4] = [
    ("KBUILD_BUILD_USER", "cenote"),
    ("KBUILD_BUILD_HOST", "cenote"),
    ("KBUILD_BUILD_VERSION", "1"),
    ("KBUILD_BUILD_TIMESTAMP", "1970-01-01 00:00:00 UTC"),
];
/// What `uname -v` shows instead of a time (Debian's addition): the source.
const VERSION: &str = "KBUILD_BUILD_VERSION_TIMESTAMP";

/// All that is in the digest of a kernel's inputs.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    let variables = VARIABLES
        .into_iter()
        .flat_map(|(name, value)| [name, value]);
    [CONFIGURE, COMPILE, STRIP, VERSION]
        .into_iter()
        .chain(variables)
}

/// A call of `make` in `source` for `target`, whose products go to `objects`.
///
/// The environment is empty but for what is set here, so that the name tells all that went in. There are as many jobs as
/// processors that this process may use.
pub(super) fn make(
    toolchain: &Toolchain,
    inputs: &Inputs,
    source: &Path,
    objects: &Path,
    target: &str,
) -> Command {
    let assign = |name: &str, value: &OsStr| {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        word
    };
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let mut make = toolchain.command("make");
    make.arg(format!("--jobs={jobs}"));
    make.arg("-C").arg(source);
    make.arg(assign("O", objects.as_os_str()));
    make.arg(assign("ARCH", inputs.architecture.linux().as_ref()));
    make.arg(assign("LOCALVERSION", inputs.local_version().as_ref()));
    make.arg(target);
    make.envs(VARIABLES).env(VERSION, &inputs.source);
    make
}
