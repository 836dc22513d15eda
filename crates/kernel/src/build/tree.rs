//! The source tree: Debian's tarball out of its package, unpacked and patched. It appears complete or not at all.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cenote_debian::{AptRoot, Deb, RELEASE, Source, version};
use tempfile::TempDir;

use super::inputs::File;
use super::step::Log;
use super::toolchain::Toolchain;
use super::{Error, Progress};
use crate::install::MIN_RELEASE;
use crate::store;

const PACKAGE: &str = "linux-source-";

/// The source package that a kernel is to be built from; perhaps not fetched yet.
pub(super) struct Package {
    name: String,
    version: String,
    origin: Origin,
}

enum Origin {
    Archive { apt: AptRoot, _scratch: TempDir },
    Here(Deb),
}

impl Package {
    /// The newest source of the archive, or the one that was given.
    pub(super) fn find(source: &Source, scratch: TempDir) -> Result<Self, Error> {
        let package = match source {
            Source::Archive(archive) => {
                let suite = format!("{RELEASE}-backports");
                let apt = AptRoot::open(archive, &[&suite], scratch.path())?;
                let names = apt.search(&format!("^{PACKAGE}[0-9.]+$"))?;
                let newest = names.into_iter().max_by(|a, b| version::compare(a, b));
                let name = newest.ok_or(Error::NoSource)?;
                Self {
                    version: apt.candidate(&name)?,
                    name,
                    origin: Origin::Archive {
                        apt,
                        _scratch: scratch,
                    },
                }
            }
            Source::Files(files) => {
                let [file] = files.as_slice() else {
                    return Err(Error::OneFile(files.len()));
                };
                let deb = Deb::open(file)?;
                Self {
                    name: deb.package.clone(),
                    version: deb.version.clone(),
                    origin: Origin::Here(deb),
                }
            }
        };
        let release = package.name.strip_prefix(PACKAGE);
        let release = release.ok_or_else(|| Error::NotSource(package.name.clone()))?;
        if version::compare(release, MIN_RELEASE).is_lt() {
            return Err(Error::TooOld(release.to_owned()));
        }
        Ok(package)
    }

    /// `name=version`.
    pub(super) fn id(&self) -> String {
        format!("{}={}", self.name, self.version)
    }

    /// Unpacks it into the new folder `tree` and applies `patches`, by way of the temporary folder `scratch` beside it.
    ///
    /// Patches only save something. So one that does not apply, because the source has changed since, is left out as a
    /// whole, with a notice.
    pub(super) fn unpack(
        &self,
        tree: &Path,
        patches: &[File],
        scratch: &Path,
        tools: (&Toolchain, &mut Log<'_>),
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        let (toolchain, log) = tools;
        let deb = match &self.origin {
            Origin::Here(deb) => deb,
            Origin::Archive { apt, .. } => {
                progress.stage(&format!("fetching {}", self.id()), None);
                let files = apt.download(&[&self.name])?;
                let file = files.first().ok_or(Error::NoSource)?;
                &Deb::open(file)?
            }
        };
        progress.stage("unpacking the source", None);
        let tarball = self.tarball(deb, scratch)?;
        let new = scratch.join("tree");
        fs::create_dir(&new).map_err(store::Error::io(&new))?;
        let mut tar = toolchain.command("tar");
        tar.args(["--extract", "--no-same-owner", "--strip-components=1"]);
        tar.arg("--file").arg(&tarball).arg("--directory").arg(&new);
        log.run(tar, "tar", |_| {})?;
        for file in patches {
            let path = scratch.join("patch");
            fs::write(&path, file.text).map_err(store::Error::io(&path))?;
            let mut patch = |more: &[&str]| {
                let mut patch = toolchain.command("patch");
                patch.args(["--strip=1", "--batch", "--forward"]).args(more);
                patch.arg("--directory").arg(&new);
                patch.arg("--input").arg(&path);
                log.run(patch, "patch", |_| {})
            };
            match patch(&["--dry-run"]) {
                Ok(()) => patch(&[])?,
                Err(Error::Failed { .. }) => progress.notice(&format!(
                    "leaving out {}: this source does not take it",
                    file.name
                )),
                Err(error) => return Err(error),
            }
        }
        Ok(fs::rename(&new, tree).map_err(store::Error::io(tree))?)
    }

    /// The tarball in the package.
    fn tarball(&self, deb: &Deb, scratch: &Path) -> Result<PathBuf, Error> {
        let wanted = PathBuf::from(format!("usr/src/{}.tar.xz", self.name));
        deb.unpack(scratch, |path| path == wanted)?;
        let tarball = scratch.join(wanted);
        match fs::metadata(&tarball) {
            Ok(_) => Ok(tarball),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Error::NoTarball(self.id()))
            }
            Err(source) => Err(store::Error::io(tarball)(source).into()),
        }
    }
}

#[cfg(test)]
#[path = "tree_test.rs"]
mod tests;
