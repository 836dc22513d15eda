//! How often does a machine on KVM leave its guest for one request of each device, beside QEMU's microvm (virtio-mmio) and
//! q35 (virtio-pci with MSI-X)?
//!
//! The guest's only program sends 500 requests of each kind, one after the other, each after the one before has been
//! answered. QEMU has no vsock here, and its microvm takes no pmem.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Context;
use cenote_bench::floor;
use cenote_bench::host::Host;
use cenote_bench::lab::{Lab, LabSpec};
use cenote_bench::report::{Flags, Report};
use cenote_bench::requests::PHASES;
use cenote_bench::series::{Series, in_turn};
use clap::Parser;
use serde::Deserialize;

/// Counts the exits of each device's requests
#[derive(Debug, Parser)]
struct Requests {
    /// How often each machine runs
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    #[command(flatten)]
    flags: Flags,
}

/// A phase, as `count_requests` tells it.
#[derive(Debug, Deserialize)]
struct Phase {
    seconds: f64,
    requests: f64,
    interrupts: f64,
    exits: BTreeMap<String, f64>,
    registers: BTreeMap<String, f64>,
    user: BTreeMap<String, f64>,
}

type Phases = BTreeMap<String, Phase>;

/// Exits that come from the time that passes: the host's interrupts, and the guest's when it could not take them at once.
const TICKS: [&str; 2] = ["interrupt", "vintr"];

fn main() -> anyhow::Result<()> {
    let bench = Requests::parse();
    let mut report = Report::new(
        "kvm_requests",
        "How often does a machine on KVM leave its guest for a request of each device, beside QEMU?",
    );
    let host = Host::with_busybox()?;
    let guest = std::env::current_exe()?.with_file_name("requests_guest");
    let guest = fs::read(&guest).with_context(|| format!("cannot read {}", guest.display()))?;
    let initramfs = host.scratch().join("requests.cpio");
    fs::write(&initramfs, floor::initramfs(&guest))?;
    let lab = Lab::open(
        &host,
        &LabSpec {
            cpus: 1,
            memory: "2g",
            image: "busybox",
            programs: &["count_requests"],
            files: &[&initramfs],
        },
    )?;
    report.condition("kernel and tools", host.versions()?);
    report.condition("kernel of the machines", lab.kernel());
    report.condition("machines", "1 virtual CPU, 512 MiB, inside the lab");

    let kernel = lab.kernel();
    let vmlinux = lab.run(&format!(
        "mkdir -p /tmp; find /bench/data/kernels/{kernel} /.cenote/kernels/{kernel} -name vmlinux 2>/dev/null | head -n 1"
    ))?;
    let vmlinux = vmlinux.trim();
    let common = format!("count_requests {vmlinux} /bench/requests.cpio");
    let peer = |machine: &str, kind: &str, card: &str| {
        format!(
            "{common} {} -M {machine} -accel kvm -cpu host -smp 1 -nodefaults -no-user-config -display none -no-reboot \
             -kernel {vmlinux} -initrd /bench/requests.cpio \
             -blockdev driver=file,filename=/tmp/disk,node-name=disk -device virtio-blk-{kind},drive=disk \
             -netdev stream,id=net,server=off,addr.type=unix,addr.path=/tmp/net -device virtio-net-{kind},netdev=net{card} \
             -chardev null,id=console -device virtio-serial-{kind} -device virtconsole,chardev=console",
            lab.qemu()
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
    let measure = |script: &str| -> anyhow::Result<Phases> {
        let told = lab.run(script)?;
        serde_json::from_str(&told).with_context(|| format!("count_requests told {told:?}"))
    };
    let runs = in_turn(
        bench.rounds,
        &mut [
            &mut || measure(&common),
            &mut || measure(&microvm),
            &mut || measure(&q35),
        ],
    )?;
    for name in PHASES {
        for (machine, runs) in ["cenote", "microvm", "q35"].iter().zip(&runs) {
            let phases: Option<Vec<&Phase>> = runs.iter().map(|phases| phases.get(name)).collect();
            if let Some(phases) = phases {
                tell(&mut report, &format!("{name}: {machine}"), &phases);
            }
        }
    }
    report.publish(&bench.flags)
}

type Map = fn(&Phase) -> &BTreeMap<String, f64>;

/// Adds what a phase cost for each of its requests.
fn tell(report: &mut Report, name: &str, phases: &[&Phase]) {
    let mut figure = |what: &str, of: &dyn Fn(&Phase) -> f64| {
        let each = phases.iter().map(|phase| of(phase) / phase.requests);
        report.figure(&format!("{name}: {what}"), "", &Series::new(each.collect()))
    };
    figure("exits", &|phase| phase.exits.values().sum());
    figure("exits but for ticks", &|phase| {
        let ticks = TICKS.iter().filter_map(|reason| phase.exits.get(*reason));
        phase.exits.values().sum::<f64>() - ticks.sum::<f64>()
    });
    figure("exits to user space", &|phase| phase.user.values().sum());
    figure("interrupts", &|phase| phase.interrupts);
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
                map(phase).get(reason).copied().unwrap_or(0.0)
            });
        }
    }
}
