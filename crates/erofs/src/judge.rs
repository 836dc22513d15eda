//! For tests: erofs-utils as the judge of images. They come from `scripts/fetch-erofs-utils`.

use std::env;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Panics with the judge's words unless `fsck.erofs` accepts the image.
pub fn fsck(image: &Path, devices: &[&Path]) {
    let mut fsck = Command::new(program("fsck.erofs"));
    fsck.args(
        devices
            .iter()
            .map(|device| format!("--device={}", device.display())),
    );
    let output = fsck.arg("--extract").arg(image).output().unwrap();
    assert!(
        output.status.success(),
        "fsck.erofs {}: {}{}",
        image.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One of erofs-utils' programs.
pub fn program(name: &str) -> PathBuf {
    let folder = match env::var_os("CENOTE_EROFS_UTILS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/erofs-utils"),
    };
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is missing: run scripts/fetch-erofs-utils target/tools/erofs-utils, or set \
         CENOTE_EROFS_UTILS to a folder that has erofs-utils 1.8 or newer",
        program.display()
    );
    program
}

/// A new image file.
pub fn create(path: &Path) -> File {
    File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(path)
        .unwrap()
}
