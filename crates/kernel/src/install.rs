//! Takes a kernel and its modules out of Debian's packages into the store.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use cenote_debian::{AptRoot, Deb, Lock, RELEASE, Source, archive, deb, version};
use sha2::{Digest, Sha256};

use crate::initramfs::hex;
use crate::module::{Loaded, canonical, order};
use crate::store::{
    self, Kernel, MODULES, ModuleRecord, RECORD, Record, Store, VMLINUX, module_file,
};
use crate::{bzimage, module, vmlinux};

/// The first release with working EROFS DAX detection, multi-queue virtio-fs and arm64 nesting in Debian's backports.
pub(crate) const MIN_RELEASE: &str = "7.3";
/// Debian's smallest x86 kernel: built for virtual machines in clouds.
const FLAVOUR: &str = "-cloud-amd64";
const BINARY: &str = "linux-binary-";
const MODULE: &str = "linux-modules-";
/// Debian's largest modules are some megabytes.
const MAX_MODULE: u64 = 64 << 20;
/// A vmlinuz of the cloud kernel has 14 MB.
const MAX_IMAGE: u64 = 256 << 20;
/// `xz` as the kernel's build calls it needs 1 MiB; ten times that for others.
const XZ_MEMORY: u64 = 64 << 20;

/// Why a kernel cannot be installed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The archive gave no packages.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// A package cannot be unpacked.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The archive has no kernel that is new enough.
    #[error(
        "the archive has no cloud kernel of release {MIN_RELEASE} or newer; use a mirror that carries {RELEASE}-backports, or give the packages with --deb FILE"
    )]
    NoKernel,
    /// A kernel that was given is too old.
    #[error("kernel {0} is too old: guests need {MIN_RELEASE} or newer")]
    TooOld(String),
    /// The two packages are not both there.
    #[error(
        "a kernel comes in two packages; {missing} is missing: give both with --deb FILE --deb FILE"
    )]
    Incomplete {
        /// The package that was not given.
        missing: String,
    },
    /// The package has no kernel.
    #[error("the package {package} holds no vmlinuz")]
    NoImage {
        /// The package.
        package: String,
    },
    /// The image in it is no bzImage that can be taken apart.
    #[error("the kernel image of {version} cannot be used")]
    Image {
        /// The kernel.
        version: String,
        /// What is wrong with it.
        source: bzimage::Error,
    },
    /// The kernel in it cannot be started directly.
    #[error("the kernel {version} cannot be started directly")]
    Kernel {
        /// The kernel.
        version: String,
        /// What is wrong with it.
        source: vmlinux::Error,
    },
    /// A module is missing or damaged.
    #[error("the modules of {version} cannot be used")]
    Module {
        /// The kernel.
        version: String,
        /// What is wrong with them.
        source: module::Error,
    },
}

/// Installs the newest kernel that `source` has, and returns it; if it is there already, nothing changes.
///
/// # Errors
/// See [`Error`]; nothing is left behind then.
pub fn install(store: &Store, source: &Source) -> Result<Kernel, Error> {
    let lock = Lock::take(store.folder()).map_err(store::Error::io(store.folder()))?;
    let scratch = lock.temporary().map_err(store::Error::io(store.folder()))?;
    match source {
        Source::Files(files) => {
            let debs = files
                .iter()
                .map(|file| Deb::open(file))
                .collect::<Result<Vec<_>, _>>()?;
            unpack(store, &lock, &debs, scratch.path())
        }
        Source::Archive(archive) => {
            let suite = format!("{RELEASE}-backports");
            let apt = AptRoot::open(archive, &[&suite], scratch.path())?;
            let version = newest(apt.search(&format!("^{BINARY}[0-9].*{FLAVOUR}$"))?)
                .ok_or(Error::NoKernel)?;
            if let Ok(kernel) = store.choose(Some(&version)) {
                return Ok(kernel);
            }
            let files =
                apt.download(&[&format!("{BINARY}{version}"), &format!("{MODULE}{version}")])?;
            let debs = files
                .iter()
                .map(|file| Deb::open(file))
                .collect::<Result<Vec<_>, _>>()?;
            unpack(store, &lock, &debs, scratch.path())
        }
    }
}

/// The newest release among package names, if it is new enough.
fn newest(packages: Vec<String>) -> Option<String> {
    let releases = packages
        .iter()
        .filter_map(|package| package.strip_prefix(BINARY));
    let newest = releases.max_by(|a, b| version::compare(a, b))?;
    new_enough(newest).then(|| newest.to_owned())
}

fn new_enough(release: &str) -> bool {
    version::compare(release, MIN_RELEASE).is_ge()
}

fn unpack(store: &Store, lock: &Lock, debs: &[Deb], scratch: &Path) -> Result<Kernel, Error> {
    let find = |prefix: &str| {
        debs.iter()
            .find(|deb| deb.package.starts_with(prefix) && deb.package.ends_with(FLAVOUR))
    };
    let binary = find(BINARY).ok_or_else(|| Error::Incomplete {
        missing: format!("{BINARY}VERSION{FLAVOUR}"),
    })?;
    let version = binary.package.trim_start_matches(BINARY).to_owned();
    let wanted = format!("{MODULE}{version}");
    let modules = debs
        .iter()
        .find(|deb| deb.package == wanted)
        .ok_or(Error::Incomplete { missing: wanted })?;
    if !new_enough(&version) {
        return Err(Error::TooOld(version));
    }
    if let Ok(kernel) = store.choose(Some(&version)) {
        return Ok(kernel);
    }
    let (tree, new) = (scratch.join("tree"), scratch.join("kernel"));
    for folder in [&tree, &new, &new.join(MODULES)] {
        fs::create_dir(folder).map_err(store::Error::io(folder))?;
    }
    let folder = PathBuf::from("usr/lib/modules").join(&version);
    binary.unpack(&tree, |path| path == folder.join("vmlinuz"))?;
    modules.unpack(&tree, |path| {
        path.starts_with(&folder)
            && path
                .file_name()
                .is_some_and(|name| name.to_string_lossy().contains(".ko"))
    })?;
    let packages = [binary, modules]
        .map(|deb| format!("{}={}", deb.package, deb.version))
        .to_vec();
    let sha256 = kernel(
        &version,
        &tree.join(&folder).join("vmlinuz"),
        &binary.package,
        &new.join(VMLINUX),
    )?;
    let modules = write_modules(&version, &tree.join(&folder), &new.join(MODULES))?;
    write_record(
        &new.join(RECORD),
        &Record {
            version: version.clone(),
            packages,
            sha256,
            modules,
            built: None,
        },
    )?;
    let folder = lock
        .publish(&new, &version)
        .map_err(store::Error::io(store.folder()))?;
    Ok(store::read(&folder)?)
}

/// Takes the kernel out of its image, checks it, writes it and returns its SHA-256.
fn kernel(version: &str, image: &Path, package: &str, into: &Path) -> Result<String, Error> {
    let bytes = match read_bounded(image, MAX_IMAGE) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoImage {
                package: package.to_owned(),
            });
        }
        bytes => bytes.map_err(store::Error::io(image))?,
    };
    let kernel = bzimage::unpack(&bytes).map_err(|source| Error::Image {
        version: version.to_owned(),
        source,
    })?;
    vmlinux::check(kernel.as_slice()).map_err(|source| Error::Kernel {
        version: version.to_owned(),
        source,
    })?;
    fs::write(into, &kernel).map_err(store::Error::io(into))?;
    Ok(hex(&Sha256::digest(&kernel)))
}

fn write_modules(version: &str, tree: &Path, into: &Path) -> Result<Vec<ModuleRecord>, Error> {
    let mut files = BTreeMap::new();
    index(tree, &mut files).map_err(store::Error::io(tree))?;
    let load = |name: &str| files.get(name).map(|path| decompress(path)).transpose();
    let modules = order(load).map_err(|source| Error::Module {
        version: version.to_owned(),
        source,
    })?;
    let mut records = Vec::new();
    for (
        place,
        Loaded {
            name,
            group,
            content,
        },
    ) in modules.into_iter().enumerate()
    {
        let path = into.join(module_file(place, &name));
        fs::write(&path, &content).map_err(store::Error::io(path))?;
        records.push(ModuleRecord {
            name,
            group,
            sha256: hex(&Sha256::digest(&content)),
        });
    }
    Ok(records)
}

/// Every module file below `folder` by the module's name.
fn index(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            index(&entry.path(), files)?;
        } else if let Some((name, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(canonical(name), entry.path());
        }
    }
    Ok(())
}

fn decompress(path: &Path) -> io::Result<Vec<u8>> {
    let file = read_bounded(path, MAX_MODULE)?;
    if path.extension().is_some_and(|extension| extension == "ko") {
        return Ok(file);
    }
    let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0)?;
    bounded(
        liblzma::bufread::XzDecoder::new_stream(file.as_slice(), stream),
        MAX_MODULE,
    )
}

fn read_bounded(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    bounded(fs::File::open(path)?, limit)
}

fn bounded(content: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    content.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::other(format!("it is larger than {limit} bytes")));
    }
    Ok(bytes)
}

pub(crate) fn write_record(path: &Path, record: &Record) -> Result<(), store::Error> {
    let json = serde_json::to_vec_pretty(record).map_err(io::Error::from);
    json.and_then(|json| fs::write(path, json))
        .map_err(store::Error::io(path))
}

#[cfg(test)]
#[path = "install_test.rs"]
mod tests;
