//! The lab: a container with a `/dev/kvm` of its own, in which machines on KVM are measured side by side.
//!
//! On a host without usable KVM its processor is emulated, with SVM, and the container's machine plays the host of what is
//! measured (`docs/nesting.md`). Commands run in that machine itself, where the tracepoints of KVM are.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;

use crate::cost;
use crate::files;
use crate::host::{Host, Sleeper, built_beside};
use crate::report::Report;

/// The image that the lab's container is made of.
const IMAGE: &str = "localhost/cenote-lab";
/// Its name.
const NAME: &str = "lab";
/// How a command reaches the place where it has both the machine's rights and the container's files: with all
/// capabilities, in the mount and process namespaces of the container's only process.
const ENTER: &str = "exec nsenter -m -p -t \"$(pidof sleep)\" sh -c \"$0\"";
/// The firmware of QEMU's microvm (Debian: seabios).
const MICROVM_FIRMWARE: &str = "/usr/share/seabios/bios-microvm.bin";
/// How QEMU is called in the lab.
const QEMU: &str = "/bench/qemu/lib/ld-linux-x86-64.so.2 --inhibit-cache --library-path /bench/qemu/lib \
     /bench/qemu/bin/qemu-system-x86_64 -L /bench/qemu/share";
/// What comes before every command.
const BEGIN: &str =
    "export PATH=/bin:/bench:/.cenote/bin CENOTE_DATA=/bench/data CENOTE_RUNTIME=/tmp/run\n";

/// What a lab is made of.
struct Spec<'a> {
    /// Its CPUs.
    cpus: u32,
    /// Its memory, as `cenote run --memory` takes it.
    memory: &'a str,
    /// An image that its machines can run, beside the lab's own.
    image: &'a str,
    /// Programs that were built beside this one, on the lab's path.
    programs: &'a [&'a str],
    /// Files that are copied to /bench.
    files: &'a [&'a Path],
}

/// A running lab.
#[derive(Debug)]
pub struct Lab<'a> {
    host: &'a Host,
    _sleeper: Sleeper<'a>,
    kernel: String,
    own_kernel: String,
}

impl<'a> Lab<'a> {
    /// Opens a lab for exits and times, of a host that has busybox. It has one CPU, so that nothing depends on what else the
    /// host does meanwhile; `programs`, which were built beside this one, are on its path, and `files` in /bench.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn with_busybox(
        host: &'a Host,
        programs: &[&str],
        files: &[&Path],
    ) -> anyhow::Result<Self> {
        let spec = Spec {
            cpus: 1,
            memory: "2g",
            image: "busybox",
            programs,
            files,
        };
        Self::open(host, &spec)
    }

    /// Opens a lab for the pages of an image: [`files::IMAGE`], which is made with a large file of `size` bytes.
    ///
    /// # Errors
    /// When the image cannot be made, or the lab does not come up.
    pub fn with_files(host: &'a Host, size: usize) -> anyhow::Result<Self> {
        files::import(host, size)?;
        let spec = Spec {
            cpus: 2,
            memory: "3g",
            image: files::IMAGE,
            programs: &[],
            files: &[],
        };
        Self::open(host, &spec)
    }

    fn open(host: &'a Host, spec: &Spec<'_>) -> anyhow::Result<Self> {
        let [distro, built] = [false, true].map(|built| newest_kernel(host, built));
        // The built kernel has no histograms of tracepoints, so the lab itself runs the distribution's.
        let distro =
            distro?.context("the lab needs a distribution's kernel: `cenote kernel install`")?;
        let built = built?;
        let root = host.scratch().join("lab");
        fill(host, &root, spec, built.as_deref())?;
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

    /// Adds the conditions that all measurements in a lab have.
    ///
    /// # Errors
    /// When the host's kernels and tools cannot be read.
    pub fn describe(&self, report: &mut Report) -> anyhow::Result<()> {
        report.condition("kernel and tools", self.host.versions()?);
        report.condition("kernel of the machines", &self.kernel);
        Ok(())
    }

    /// Where the machines' kernel has a file of this name in the lab; the newest one if the name is a pattern.
    ///
    /// # Errors
    /// When it has none.
    pub fn kernel_file(&self, name: &str) -> anyhow::Result<String> {
        let kernel = &self.kernel;
        let found = self.run(&format!(
            "for at in /bench/data /.cenote; do ls -t $at/kernels/{kernel}/{name}; done 2>/dev/null | head -n 1"
        ))?;
        let found = found.trim();
        ensure!(!found.is_empty(), "the lab has no {name} of {kernel}");
        Ok(found.to_owned())
    }

    /// The words with which a peer's command line begins: a QEMU of this kind on KVM, with one CPU, no device and the kernel
    /// `vmlinux`.
    pub fn peer(&self, machine: &str, vmlinux: &str) -> String {
        format!(
            "{QEMU} -M {machine} -accel kvm -cpu host -smp 1 -nodefaults -no-user-config -display none -no-reboot \
             -kernel {vmlinux}"
        )
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

    /// What a program tells as JSON that `script` runs in the lab.
    ///
    /// # Errors
    /// When the script fails, or tells something else.
    pub fn told<T: DeserializeOwned>(&self, script: &str) -> anyhow::Result<T> {
        let told = self.run(script)?;
        serde_json::from_str(&told).with_context(|| format!("{script} told {told:?}"))
    }
}

/// Makes the lab's root.
fn fill(host: &Host, root: &Path, spec: &Spec<'_>, kernel: Option<&str>) -> anyhow::Result<()> {
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
        fs::copy(built_beside(program)?, bench.join(program))?;
    }
    for file in spec.files {
        copy(file, &bench)?;
    }
    if let Some(kernel) = kernel {
        let from = host.data().join("kernels").join(kernel);
        copy(&from, &bench.join("data/kernels").join(kernel))?;
    }
    copy(&host.qemu()?, &bench.join("qemu"))?;
    // Cenote's own machines have no need of it, so `cenote tools install` leaves it out.
    fs::copy(MICROVM_FIRMWARE, bench.join("qemu/share/bios-microvm.bin"))
        .with_context(|| format!("cannot copy {MICROVM_FIRMWARE}: install the package seabios"))?;
    Ok(())
}

/// The name of the last kernel that is built, or that is not.
fn newest_kernel(host: &Host, built: bool) -> anyhow::Result<Option<String>> {
    let found = host.last("kernels", |name| name.contains("-cenote-") == built)?;
    Ok(found
        .as_deref()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned()))
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
