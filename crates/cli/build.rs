//! Tells the program which revision it was built from, where the source is a git checkout, and the linker how to pack it.

use std::path::Path;
use std::process::Command;

fn main() {
    let git = |arguments: &[&str]| {
        let output = Command::new("git")
            .args(arguments)
            .output()
            .ok()
            .filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
    };
    if let Some(revision) = git(&["rev-parse", "--short=12", "HEAD"]) {
        println!("cargo::rustc-env=CENOTE_REVISION={revision}");
    }
    // What is to be relocated when the program starts, all of which is read then, takes 9 kB so instead of 740. A static
    // program understands it since glibc 2.36, which Debian 12 has.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // The reflog grows with every commit and checkout, whatever branch is out; without one, only a change here counts.
    match git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists()) {
        Some(log) => println!("cargo::rerun-if-changed={log}"),
        None => println!("cargo::rerun-if-changed=build.rs"),
    }
}
