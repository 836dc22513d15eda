//! How often does a machine on KVM leave its guest for one request of each device, beside QEMU's microvm (virtio-mmio) and
//! q35 (virtio-pci with MSI-X)?
//!
//! The guest's only program sends 500 requests of each kind, one after the other, each after the one before has been
//! answered. QEMU has no vsock here, and its microvm takes no pmem.

use std::collections::BTreeMap;
use std::fs;

use cenote_bench::floor;
use cenote_bench::host::{Host, built_beside};
use cenote_bench::lab::Lab;
use cenote_bench::report::{Flags, Report};
use cenote_bench::requests::{PHASES, Phase};
use cenote_bench::series::{Series, each_in_turn};
use clap::Parser;

/// Counts the exits of each device's requests
#[derive(Debug, Parser)]
struct Requests {
    /// How often each machine runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    flags: Flags,
}

/// Exits that come from the time that passes: the host's interrupts, and the guest's when it could not take them at once.
const TICKS: [&str; 2] = ["interrupt", "vintr"];

fn main() -> anyhow::Result<()> {
    let bench = Requests::parse();
    let mut report = Report::new(
        "kvm_requests",
        "How often does a machine on KVM leave its guest for a request of each device, beside QEMU?",
    );
    let host = Host::with_busybox()?;
    let guest = fs::read(built_beside("requests_guest")?)?;
    let initramfs = host.scratch().join("requests.cpio");
    fs::write(&initramfs, floor::initramfs(&guest))?;
    let lab = Lab::with_busybox(&host, &["count_requests"], &[&initramfs])?;
    lab.describe(&mut report)?;
    report.condition("machines", "1 virtual CPU, 512 MiB, inside the lab");

    lab.run("mkdir -p /tmp")?;
    let vmlinux = lab.kernel_file("vmlinux")?;
    let common = format!("count_requests {vmlinux} /bench/requests.cpio");
    let peer = |machine: &str, kind: &str, card: &str| {
        format!(
            "{common} {} -initrd /bench/requests.cpio \
             -blockdev driver=file,filename=/tmp/disk,node-name=disk -device virtio-blk-{kind},drive=disk \
             -netdev stream,id=net,server=off,addr.type=unix,addr.path=/tmp/net -device virtio-net-{kind},netdev=net{card} \
             -chardev null,id=console -device virtio-serial-{kind} -device virtconsole,chardev=console",
            lab.peer(machine, &vmlinux)
        )
    };
    let microvm = format!(
        "{} -m 512 -global virtio-mmio.force-legacy=false",
        peer("microvm", "device", "")
    );
    let q35 = format!(
        "{} -m 512,slots=1,maxmem=1G -object memory-backend-file,id=pmem,mem-path=/tmp/pmem,size=2M,share=on \
         -device virtio-pmem-pci,memdev=pmem",
        peer("q35", "pci", ",romfile=")
    );
    let sides = [("cenote", common), ("microvm", microvm), ("q35", q35)];
    let runs: Vec<Vec<BTreeMap<String, Phase>>> =
        each_in_turn(bench.rounds, &sides, |(_, script)| lab.told(script))?;
    for name in PHASES {
        for ((machine, _), runs) in sides.iter().zip(&runs) {
            let phases: Option<Vec<&Phase>> = runs.iter().map(|phases| phases.get(name)).collect();
            if let Some(phases) = phases {
                tell(&mut report, &format!("{name}: {machine}"), &phases);
            }
        }
    }
    report.publish(&bench.flags)
}

type Map = fn(&Phase) -> &BTreeMap<String, u32>;

/// Adds what a phase cost for each of its requests.
fn tell(report: &mut Report, name: &str, phases: &[&Phase]) {
    let mut figure = |what: &str, of: &dyn Fn(&Phase) -> f64| {
        let each = phases
            .iter()
            .map(|phase| of(phase) / f64::from(phase.requests));
        report.figure(&format!("{name}: {what}"), "", &Series::new(each.collect()))
    };
    let sum = |counts: &BTreeMap<String, u32>| f64::from(counts.values().sum::<u32>());
    figure("exits", &|phase| sum(&phase.exits));
    figure("exits but for ticks", &|phase| {
        let ticks = TICKS.iter().filter_map(|reason| phase.exits.get(*reason));
        sum(&phase.exits) - f64::from(ticks.sum::<u32>())
    });
    figure("exits to user space", &|phase| sum(&phase.user));
    figure("interrupts", &|phase| phase.interrupts.into());
    figure("milliseconds", &|phase| phase.seconds * 1000.0);
    let maps: [(&str, Map); 3] = [
        ("exit", |phase| &phase.exits),
        ("MSR write", |phase| &phase.registers),
        ("to user space", |phase| &phase.user),
    ];
    for (kind, map) in maps {
        let mut reasons: Vec<&String> = phases.iter().flat_map(|phase| map(phase).keys()).collect();
        reasons.sort();
        reasons.dedup();
        for reason in reasons {
            figure(&format!("{kind} {reason}"), &|phase| {
                map(phase).get(reason).copied().unwrap_or(0).into()
            });
        }
    }
}
