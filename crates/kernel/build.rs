//! Embeds `kernel/`, the built kernel's configuration and patches, so that an installed `cenote` can build without the
//! checkout.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../kernel");
    let root = root.canonicalize().expect("kernel/ is in the checkout");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed={}", root.display());
    let mut code = String::new();
    for (constant, folders, extension) in [
        ("COMMON", "config/common", "config"),
        ("X86_64", "config/x86_64", "config"),
        ("AARCH64", "config/aarch64", "config"),
        ("PATCHES", "patches", "patch"),
    ] {
        write!(code, "pub(super) const {constant}: &[File] = &[").expect("a string takes all");
        for path in files(&root.join(folders), extension) {
            let name = path.strip_prefix(&root).expect("it is below");
            write!(
                code,
                "File {{ name: {:?}, text: include_str!({:?}) }},",
                name.display().to_string(),
                path.display().to_string()
            )
            .expect("a string takes all");
        }
        code += "];\n";
    }
    fs::write(out.join("files.rs"), code).expect("cargo's folder takes files");
}

/// The files of `folder` with this extension, by name; none when there is no such folder.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|own| own == extension))
        .collect();
    found.sort();
    found
}
