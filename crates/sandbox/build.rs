//! Builds the guest's agent, so that it can be embedded: `cenote` is one file.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

fn main() {
    let workspace =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for input in [
        "crates/guest",
        "crates/protocol",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    // A target folder of its own: the outer cargo holds the lock of the usual one. Always optimised: it is PID 1 of
    // every guest, and unpacked and paged in at every boot.
    let target = "x86_64-unknown-linux-gnu";
    let status = Command::new(env::var_os("CARGO").expect("cargo sets it"))
        .args([
            "build",
            "--release",
            "--locked",
            "--package",
            "cenote-guest",
            "--target",
            target,
        ])
        .arg("--target-dir")
        .arg(out.join("guest"))
        .env(
            "RUSTFLAGS",
            "-C target-feature=+crt-static -C strip=symbols",
        )
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        // Checks of this crate are no checks of the agent.
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .current_dir(&workspace)
        .status()
        .expect("cargo can be run");
    assert!(status.success(), "the guest's agent does not build");
    let agent = out.join("guest").join(target).join("release/cenote-guest");
    println!("cargo::rustc-env=CENOTE_GUEST={}", agent.display());
    let digest = Sha256::digest(fs::read(&agent).expect("the agent has been built"));
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=CENOTE_GUEST_DIGEST={digest}");
}
