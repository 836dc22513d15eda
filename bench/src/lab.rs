//! The lab: a container with a `/dev/kvm` of its own, in which machines on KVM are measured side by side.
//!
//! On a host without usable KVM its processor is emulated, with SVM, and the container's machine plays the host of what is
//! measured (`docs/nesting.md`). Commands run in that machine itself, where the tracepoints of KVM are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::cost;
use crate::host::{Host, Sleeper};

/// The image that the lab's container is made of.
const IMAGE: &str = "localhost/cenote-lab";
/// Its name.
const NAME: &str = "lab";
/// How a command reaches the place where it has both the machine's rights and the container's files: with all
/// capabilities, in the mount and process namespaces of the container's only process.
const ENTER: &str = "exec nsenter -m -p -t \"$(pidof sleep)\" sh -c \"$0\"";
/// The firmware of QEMU's microvm (Debian: seabios).
const MICROVM_FIRMWARE: &str = "/usr/share/seabios/bios-microvm.bin";
/// What comes before every command.
const BEGIN: &str =
    "export PATH=/bin:/bench:/.cenote/bin CENOTE_DATA=/bench/data CENOTE_RUNTIME=/tmp/run\n";

/// What a lab is made of.
#[derive(Debug)]
pub struct LabSpec<'a> {
    /// Its CPUs. Times need one, so that nothing depends on what else the host does meanwhile.
    pub cpus: u32,
    /// Its memory, as `cenote run --memory` takes it.
    pub memory: &'a str,
    /// An image that its machines can run, beside the lab's own.
    pub image: &'a str,
    /// Programs that were built beside this one, on the lab's path.
    pub programs: &'a [&'a str],
    /// Files that are copied to /bench.
    pub files: &'a [&'a Path],
}

/// A running lab.
#[derive(Debug)]
pub struct Lab<'a> {
    host: &'a Host,
    _sleeper: Sleeper<'a>,
    kernel: String,
    own_kernel: String,
    qemu: String,
}

impl<'a> Lab<'a> {
    /// Opens the lab.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn open(host: &'a Host, spec: &LabSpec<'_>) -> anyhow::Result<Self> {
        let [distro, built] = [false, true].map(|built| newest_kernel(host, built));
        // The built kernel has no histograms of tracepoints, so the lab itself runs the distribution's.
        let distro =
            distro?.context("the lab needs a distribution's kernel: `cenote kernel install`")?;
        let built = built?;
        let root = host.scratch().join("lab");
        let qemu = fill(host, &root, spec, built.as_deref())?;
        let tar = host.scratch().join("lab.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&root)
            .arg("-cf")
            .arg(&tar)
            .arg("."))?;
        host.run(&["import", &tar.display().to_string(), IMAGE])?;
        let flags = [
            "--nested",
            "--nested-image",
            spec.image,
            "--cpus",
            &spec.cpus.to_string(),
            "--memory",
            spec.memory,
            "--kernel",
            &distro,
        ];
        let sleeper = host.sleeper(NAME, &flags, IMAGE)?;
        let lab = Self {
            host,
            _sleeper: sleeper,
            kernel: built.unwrap_or_else(|| distro.clone()),
            own_kernel: distro,
            qemu,
        };
        lab.run("mount -t tracefs tracefs /sys/kernel/tracing")?;
        Ok(lab)
    }

    /// The kernel that machines in the lab run: the built one if there is one.
    pub fn kernel(&self) -> &str {
        &self.kernel
    }

    /// The kernel that the lab itself runs: the distribution's.
    pub fn own_kernel(&self) -> &str {
        &self.own_kernel
    }

    /// The words with which QEMU's command line begins.
    pub fn qemu(&self) -> &str {
        &self.qemu
    }

    /// What a shell in the lab prints when it runs `script`; `cenote` and the programs are on its path.
    ///
    /// # Errors
    /// When the script fails.
    pub fn run(&self, script: &str) -> anyhow::Result<String> {
        let script = format!("{BEGIN}{script}");
        self.host
            .run(&["exec", "--vm", NAME, "sh", "-c", ENTER, &script])
    }
}

/// Makes the lab's root, and answers how QEMU is called in it.
fn fill(
    host: &Host,
    root: &Path,
    spec: &LabSpec<'_>,
    kernel: Option<&str>,
) -> anyhow::Result<String> {
    let bench = root.join("bench");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(bench.join("data/kernels"))?;
    fs::copy("/bin/busybox", root.join("bin/busybox")).context("cannot copy /bin/busybox")?;
    let (_, applets) = cost::of(Command::new("/bin/busybox").arg("--list"))?;
    for applet in String::from_utf8_lossy(&applets.stdout).lines() {
        if applet != "busybox" {
            symlink("busybox", root.join("bin").join(applet))?;
        }
    }
    for program in spec.programs {
        let from = std::env::current_exe()?.with_file_name(program);
        fs::copy(&from, bench.join(program))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    for file in spec.files {
        copy(file, &bench)?;
    }
    if let Some(kernel) = kernel {
        let from = host.data().join("kernels").join(kernel);
        copy(&from, &bench.join("data/kernels").join(kernel))?;
    }
    let tool = entries(&host.data().join("tools"), |name| name.starts_with("qemu-"))?;
    let tool = tool
        .last()
        .context("the lab needs QEMU: `cenote tools install`")?;
    copy(tool, &bench.join("qemu"))?;
    // Cenote's own machines have no need of it, so `cenote tools install` leaves it out.
    fs::copy(MICROVM_FIRMWARE, bench.join("qemu/share/bios-microvm.bin"))
        .with_context(|| format!("cannot copy {MICROVM_FIRMWARE}: install the package seabios"))?;
    Ok(
        "/bench/qemu/lib/ld-linux-x86-64.so.2 --inhibit-cache --library-path /bench/qemu/lib \
        /bench/qemu/bin/qemu-system-x86_64 -L /bench/qemu/share"
            .to_owned(),
    )
}

/// The name of the last kernel that is built, or that is not.
fn newest_kernel(host: &Host, built: bool) -> anyhow::Result<Option<String>> {
    let found = entries(&host.data().join("kernels"), |name| {
        name.contains("-cenote-") == built
    })?;
    Ok(found
        .last()
        .and_then(|path| path.file_name())
        .map(|name| name.to_string_lossy().into_owned()))
}

/// The entries of a folder whose name is `wanted`, in the order of their names.
fn entries(folder: &Path, wanted: impl Fn(&str) -> bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if wanted(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    run(Command::new("cp").arg("-rL").arg(from).arg(to))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {command:?}"))?;
    ensure!(status.success(), "{command:?} failed ({status})");
    Ok(())
}
