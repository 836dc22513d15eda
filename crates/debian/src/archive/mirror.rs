//! The Debian mirror that the host itself uses.

use std::process::Command;

use super::{Error, apt};

const FORMAT: &str = "$(CREATED_BY)|$(COMPONENT)|$(ORIGIN)|$(LABEL)|$(REPO_URI)";

/// Asks the host's apt for the first archive that calls itself Debian's.
///
/// A host whose lists were never fetched, or were removed as in container images, cannot answer: then the addresses
/// that an update would use are looked at.
pub(super) fn of_host() -> Result<String, Error> {
    let targets = apt::output(Command::new("apt-get").args(["indextargets", "--format", FORMAT]))?;
    if let Some(mirror) = of_targets(&String::from_utf8_lossy(&targets.stdout)) {
        return Ok(mirror);
    }
    let update = apt::output(Command::new("apt-get").args(["update", "--print-uris"]))?;
    of_update(&String::from_utf8_lossy(&update.stdout)).ok_or(Error::NoMirror)
}

/// `targets` has one line per index, in [`FORMAT`].
fn of_targets(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let uri = line.strip_prefix("Packages|main|Debian|Debian|")?;
        Some(uri.to_owned())
    })
}

/// `update` has lines like `'http://mirror/debian/dists/trixie/InRelease' name 0`. Every mirror serves Debian from a
/// folder of that name; its security archive has another.
fn of_update(update: &str) -> Option<String> {
    update.lines().find_map(|line| {
        let (uri, _) = line.strip_prefix('\'')?.split_once('\'')?;
        let (base, _) = uri.split_once("/dists/")?;
        base.rsplit('/')
            .any(|part| part == "debian")
            .then(|| base.to_owned())
    })
}

#[cfg(test)]
#[path = "mirror_test.rs"]
mod tests;
