//! The checks, each a function from the machine to a finding.

use std::fs::File;
use std::path::Path;

use cenote_backend::kvm::probe::{Probe, probe};
use cenote_debian::{Kind, Tools};
use cenote_sandbox::Paths;

use super::{Finding, Verdict};
use crate::flags::size::Size;

/// Below this, a pull of an ordinary image fails.
const LITTLE_SPACE: Size = Size(2 << 30);

/// All of them.
pub fn all(paths: &Paths) -> Vec<Finding> {
    let tools = paths.tools();
    let found = probe();
    vec![
        processor(std::env::consts::ARCH),
        kvm(&found),
        qemu(&tools, &found),
        passt(&tools),
        kernel(&paths.kernels()),
        tun(Path::new("/dev/net/tun")),
        namespaces(Path::new("/proc/sys"), rustix::process::geteuid().is_root()),
        space(&paths.data),
    ]
}

fn good(subject: &'static str, found: impl Into<String>) -> Finding {
    Finding {
        subject,
        verdict: Verdict::Good,
        found: found.into(),
        remedy: None,
    }
}

fn lacking(
    subject: &'static str,
    verdict: Verdict,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding {
        subject,
        verdict,
        found: found.into(),
        remedy: Some(remedy.into()),
    }
}

fn processor(architecture: &str) -> Finding {
    match architecture {
        "x86_64" => good("processor", architecture),
        _ => lacking(
            "processor",
            Verdict::Bad,
            architecture,
            "use an x86_64 machine: there is no other version so far",
        ),
    }
}

/// Without KVM everything runs, slowly; what helps depends on where we are.
fn kvm(probe: &Probe) -> Finding {
    let slow = |remedy: &str| {
        lacking(
            "kvm",
            Verdict::Fair,
            format!("{probe}: machines are emulated by QEMU, which is slow"),
            remedy,
        )
    };
    match probe {
        Probe::Usable => good("kvm", format!("{probe}: machines run on it, without QEMU")),
        Probe::Missing => slow(
            "on hardware, switch on virtualization (VT-x, AMD-V) in the firmware and load the module kvm_intel or \
             kvm_amd; in a virtual machine, ask for a type with nested virtualization",
        ),
        Probe::NoPermission { remedy } => slow(remedy),
        Probe::Unusable { .. } => slow(
            "use a host with hardware virtualization; in a virtual machine, ask for a type with nested virtualization",
        ),
    }
}

/// Where KVM works, only `--vmm qemu` needs it.
fn qemu(tools: &Tools, kvm: &Probe) -> Finding {
    let found = tool("qemu", tools, Kind::Qemu);
    match found.verdict == Verdict::Bad && kvm.is_usable() {
        true => good("qemu", "not there; only `--vmm qemu` needs it"),
        false => found,
    }
}

fn passt(tools: &Tools) -> Finding {
    tool("passt", tools, Kind::Passt)
}

fn tool(subject: &'static str, tools: &Tools, kind: Kind) -> Finding {
    match tools.find(kind) {
        Ok(tool) => good(
            subject,
            format!("version {} in {}", tool.version, tool.program.display()),
        ),
        Err(error) => {
            let install = format!("cenote tools install {kind}");
            lacking(
                subject,
                Verdict::Bad,
                error.to_string(),
                or_from_files(&install),
            )
        }
    }
}

fn kernel(kernels: &cenote_kernel::Store) -> Finding {
    match kernels.choose(None) {
        Ok(kernel) => good("kernel", format!("version {}", kernel.version)),
        Err(error) => lacking(
            "kernel",
            Verdict::Bad,
            error.to_string(),
            or_from_files("cenote kernel install"),
        ),
    }
}

/// The command that installs something, also for a system whose packages are not Debian's.
fn or_from_files(install: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    match std::env::split_paths(&path).any(|folder| folder.join("apt-get").is_file()) {
        true => format!("`{install}`"),
        false => format!(
            "this system has no apt-get: fetch Debian's packages on one that has, then `{install} --deb FILE --deb FILE ...`"
        ),
    }
}

/// Cenote's own networking does without; a container that makes networks of its own machines does not.
fn tun(device: &Path) -> Finding {
    match File::options().read(true).write(true).open(device) {
        Ok(_) => good("tun", format!("{} works", device.display())),
        Err(error) => good(
            "tun",
            format!(
                "{} cannot be opened ({error}); nothing needs it",
                device.display()
            ),
        ),
    }
}

/// passt shuts itself into a user namespace, which some systems keep from ordinary users.
fn namespaces(sys: &Path, is_root: bool) -> Finding {
    let switches = [
        (
            "user/max_user_namespaces",
            "0",
            "user.max_user_namespaces=10000",
        ),
        (
            "kernel/unprivileged_userns_clone",
            "0",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "kernel/apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ];
    let is = |name: &str, off: &str| {
        std::fs::read_to_string(sys.join(name)).is_ok_and(|value| value.trim() == off)
    };
    match switches.iter().find(|(name, off, _)| is(name, off)) {
        Some((_, _, setting)) if !is_root => {
            let remedy = format!("`sudo sysctl -w {setting}`, or run with --network none");
            lacking(
                "userns",
                Verdict::Fair,
                "user namespaces are off for ordinary users, and passt needs one",
                remedy,
            )
        }
        _ => good("userns", "user namespaces can be made"),
    }
}

fn space(folder: &Path) -> Finding {
    match rustix::fs::statvfs(folder) {
        Err(error) => {
            let found = format!("{} cannot be used: {error}", folder.display());
            lacking(
                "disk",
                Verdict::Bad,
                found,
                "set CENOTE_DATA to a folder that can be written",
            )
        }
        Ok(disk) => {
            let free = Size(disk.f_bavail.saturating_mul(disk.f_frsize));
            let found = format!("{free} free in {}", folder.display());
            match free < LITTLE_SPACE {
                true => {
                    let remedy = "make room, for example with `cenote image prune`, or set CENOTE_DATA to another folder";
                    lacking("disk", Verdict::Fair, found, remedy)
                }
                false => good("disk", found),
            }
        }
    }
}

#[cfg(test)]
#[path = "checks_test.rs"]
mod tests;
