//! Makes the built kernel: Debian's Linux source with the configuration of `kernel/`, everything built in.
//!
//! A build works in `.build/<tree>` of the store, where `<tree>` is named by the source and the patches. What a killed or
//! failed build has made stays there, and the next one goes on with it: the unpacked tree appears complete or not at all,
//! and `make` knows which objects are finished. When the kernel is in the store, the folder goes.

mod config;
mod inputs;
mod recipe;
mod step;
mod toolchain;
mod tree;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::SystemTime;

use cenote_debian::{Lock, RELEASE, Source, archive, deb};
use sha2::{Digest, Sha256};

use crate::initramfs::hex;
use crate::install::{MIN_RELEASE, write_record};
use crate::store::{self, Built, Kernel, RECORD, Record, Store, VMLINUX};
use crate::vmlinux;
pub use config::Unmet;
use inputs::Inputs;
pub use inputs::{Architecture, File};
use step::Log;
pub use toolchain::Missing;
use toolchain::Toolchain;
use tree::Package;

/// Where builds work.
const WORK: &str = ".build";

/// Why a kernel cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no configuration for this machine.
    #[error(
        "there is no kernel configuration for {} machines",
        std::env::consts::ARCH
    )]
    Architecture,
    /// Programs or headers are missing.
    #[error("to build a kernel, this system lacks {}; on Debian, `apt-get install {}` brings them", names(.0, |missing| missing.0), names(.0, |missing| missing.1))]
    Tools(Vec<Missing>),
    /// The archive gave no packages.
    #[error(transparent)]
    Archive(#[from] archive::Error),
    /// The package cannot be unpacked.
    #[error(transparent)]
    Deb(#[from] deb::Error),
    /// The store cannot be written.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The archive has no kernel source.
    #[error(
        "the archive has no kernel source; use a mirror that carries {RELEASE}-backports, or give the package linux-source with --deb FILE"
    )]
    NoSource,
    /// More than the source was given.
    #[error("a kernel is built from one package, linux-source: {0} were given with --deb")]
    OneFile(usize),
    /// Another package was given.
    #[error("the package {0} is no Linux source: give linux-source-VERSION with --deb FILE")]
    NotSource(String),
    /// The source is too old.
    #[error("the Linux source {0} is too old: guests need {MIN_RELEASE} or newer")]
    TooOld(String),
    /// The package has no source in it.
    #[error("the package {0} holds no source")]
    NoTarball(String),
    /// A program of the build cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program of the build failed.
    #[error("{what} failed ({status}); its log is {} and ends:\n{tail}", log.display())]
    Failed {
        /// The program.
        what: &'static str,
        /// How it ended.
        status: ExitStatus,
        /// Everything that it said.
        log: PathBuf,
        /// The last lines of it.
        tail: String,
    },
    /// Linux's configuration program dropped something.
    #[error("this Linux source does not take the configuration as it is:\n{}\nSomething that each of them needs is missing or has another name here", lines(.0))]
    Unmet(Vec<Unmet>),
    /// The kernel cannot be started.
    #[error("the kernel {version} was built but cannot be started directly")]
    Kernel {
        /// The kernel.
        version: String,
        /// What is wrong with it.
        source: vmlinux::Error,
    },
}

/// Each name once.
fn names(missing: &[Missing], name: impl Fn(&Missing) -> &'static str) -> String {
    let mut names: Vec<_> = missing.iter().map(name).collect();
    names.dedup();
    names.join(" ")
}

fn lines(unmet: &[Unmet]) -> String {
    let lines: Vec<_> = unmet.iter().map(|unmet| format!("  {unmet}")).collect();
    lines.join("\n")
}

/// Who hears how far a build is.
pub trait Progress {
    /// A part of the work begins, of about so many steps, if that is known: fewer where it goes on with an earlier build.
    fn stage(&self, text: &str, steps: Option<u64>);
    /// The part goes on: a line of the program that does it, such as `  CC      mm/slub.o`.
    fn step(&self, line: &str);
    /// Something that is to be seen when the work is over, too.
    fn notice(&self, text: &str);
}

/// A build to be done.
#[derive(Debug)]
pub struct Build<'a> {
    /// Where the kernel goes.
    pub store: &'a Store,
    /// Where its source comes from.
    pub source: &'a Source,
    /// Where the build's programs are, as in `PATH`.
    pub path: &'a OsStr,
    /// Whether to keep the source and the objects, so that the next build makes only what has changed.
    pub keep: bool,
}

impl Build<'_> {
    /// Builds the kernel, unless one of the same inputs is there.
    ///
    /// # Errors
    /// See [`Error`]. What was made until then is kept for the next try.
    pub fn run(&self, progress: &dyn Progress) -> Result<Kernel, Error> {
        let architecture = Architecture::host().ok_or(Error::Architecture)?;
        let toolchain = Toolchain::find(self.path, !inputs::PATCHES.is_empty())?;
        let lock = self.lock(progress)?;
        progress.stage("looking for the newest source", None);
        let scratch = || lock.temporary().map_err(store::Error::io(lock.folder()));
        let package = Package::find(self.source, scratch()?)?;
        let inputs = Inputs::new(architecture, package.id(), toolchain.compiler.clone());
        let name = inputs.name();
        if let Ok(kernel) = self.store.choose(Some(&name)) {
            return Ok(kernel);
        }
        let place = self.place(&lock, &inputs)?;
        let (source, objects) = (place.join("source"), place.join("objects"));
        let log = place.join("log");
        let mut log = Log::new(&log, &lock).map_err(store::Error::io(&log))?;
        if !source.exists() {
            let scratch = scratch()?;
            let tools = (&toolchain, &mut log);
            package.unpack(&source, &inputs.patches, scratch.path(), tools, progress)?;
        }
        let mut make = |target: &'static str, arguments: &[(&str, &OsStr)]| {
            let mut make = recipe::make(&toolchain, &inputs, &source, &objects, target);
            make.envs(arguments.iter().copied());
            log.run(make, "make", |line| progress.step(line))
        };
        progress.stage("configuring", None);
        fs::create_dir_all(&objects).map_err(store::Error::io(&objects))?;
        let wanted = place.join("wanted.config");
        fs::write(&wanted, config::merge(&inputs.fragments)).map_err(store::Error::io(&wanted))?;
        make(
            recipe::CONFIGURE,
            &[("KCONFIG_ALLCONFIG", wanted.as_os_str())],
        )?;
        let config = objects.join(".config");
        let config = fs::read_to_string(&config).map_err(store::Error::io(&config))?;
        let unmet = config::unmet(&inputs.fragments, &config);
        if !unmet.is_empty() {
            return Err(Error::Unmet(unmet));
        }
        progress.stage(&format!("compiling {name}"), Some(recipe::COMPILE_STEPS));
        make(recipe::COMPILE, &[])?;
        let mut strip = toolchain.command("strip");
        let stripped = place.join(VMLINUX);
        strip
            .args([recipe::STRIP, "-o"])
            .arg(&stripped)
            .arg(objects.join(VMLINUX));
        log.run(strip, "strip", |_| {})?;
        let kernel = self.publish(&inputs, &stripped)?;
        if !self.keep {
            let tree = place.file_name().unwrap_or_default().to_string_lossy();
            lock.remove(&tree).map_err(store::Error::io(&place))?;
        }
        Ok(kernel)
    }

    /// Takes the lock of all builds of this store; says so when another one has it.
    fn lock(&self, progress: &dyn Progress) -> Result<Lock, Error> {
        let folder = self.store.folder().join(WORK);
        let failed = || store::Error::io(&folder);
        if let Some(lock) = Lock::try_take(&folder).map_err(failed())? {
            return Ok(lock);
        }
        progress.stage("waiting for another build", None);
        Ok(Lock::take(&folder).map_err(failed())?)
    }

    /// The folder of this build's tree; those of other trees, left by builds that never ended, go.
    fn place(&self, lock: &Lock, inputs: &Inputs) -> Result<PathBuf, Error> {
        let tree = &inputs.tree_digest()[..16];
        let folder = lock.folder();
        for entry in fs::read_dir(folder).map_err(store::Error::io(folder))? {
            let name = entry.map_err(store::Error::io(folder))?.file_name();
            let name = name.to_string_lossy();
            if !name.starts_with('.') && name != tree {
                lock.remove(&name).map_err(store::Error::io(folder))?;
            }
        }
        let place = folder.join(tree);
        fs::create_dir_all(&place).map_err(store::Error::io(&place))?;
        // make takes no relative path.
        Ok(fs::canonicalize(&place).map_err(store::Error::io(&place))?)
    }

    /// Puts the finished kernel into the store.
    fn publish(&self, inputs: &Inputs, vmlinux: &Path) -> Result<Kernel, Error> {
        let version = inputs.name();
        let bytes = fs::read(vmlinux).map_err(store::Error::io(vmlinux))?;
        vmlinux::check(bytes.as_slice()).map_err(|source| Error::Kernel {
            version: version.clone(),
            source,
        })?;
        let folder = self.store.folder();
        let lock = Lock::take(folder).map_err(store::Error::io(folder))?;
        let scratch = lock.temporary().map_err(store::Error::io(folder))?;
        let new = scratch.path().join("kernel");
        fs::create_dir(&new).map_err(store::Error::io(&new))?;
        let file = new.join(VMLINUX);
        fs::write(&file, &bytes).map_err(store::Error::io(&file))?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let record = Record {
            version: version.clone(),
            packages: vec![inputs.source.clone()],
            sha256: hex(&Sha256::digest(&bytes)),
            modules: Vec::new(),
            built: Some(Built {
                inputs: inputs.digest(),
                compiler: inputs.compiler.clone(),
                at: now.unwrap_or_default().as_secs(),
            }),
        };
        write_record(&new.join(RECORD), &record)?;
        let folder = lock
            .publish(&new, &version)
            .map_err(store::Error::io(folder))?;
        Ok(store::read(&folder)?)
    }
}
